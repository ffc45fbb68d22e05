"""Pocket web: a small web to learn on, offline. Real web applications on loopback.

    content   what stands on the pages, computed from one seed
    shop      a shop and its admin (Django, Django's admin)
    wiki      a wiki with search, history and editing (Django)
    forge     a Git host: repositories (klaus), issues and members (Django)
    server    one site as a process; `pocket` starts, resets and ends all four
    tasks     tasks in WebArena's file format, computed from the content; tasks.json is its output

`python -m jitrl.worlds.pocket` starts it for a person to look at.
"""
