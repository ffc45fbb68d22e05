"""Pocket web: a small web to learn on, offline. Real web applications on loopback.

    content   what stands on the pages, computed from one seed
    tasks     tasks in WebArena's file format, computed from the content; tasks.json is its output
    sites     the pages: a shop, its admin, a wiki, a Git host
    server    one site as a process
    pocket    all four: started, put back to the beginning, ended

`python -m jitrl.worlds.pocket` starts it for a person to look at.
"""
