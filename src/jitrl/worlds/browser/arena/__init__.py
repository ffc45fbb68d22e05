"""WebArena, WebArena-Lite and WebArena-Verified: real sites, judged by the benchmarks' own rules.

sites        addresses and accounts: options, variables, a file
packages     the packages that task files and evaluators come in
task_files   task files: read, chosen from, filled with addresses
logins       logging in once, through the page; noticing that it has expired
expressions  the helper calls of task files, read and never evaluated
evaluators   the benchmarks' own evaluators, run with what they import put in place
judging      their verdict on an attempt: asked once, in tabs of its own
gym_tasks    a task as BrowserGym plays it: begun, and judged at its end
arena        files of tasks as benchmarks: what `webarena`, `lite` and the pocket web are made of
webarena     WebArena as a world
lite         WebArena-Lite as a world
verified     WebArena-Verified as a world, judged by its own command in an interpreter of its own
recording    what a browser sent and received, for that command
reset        bringing the sites back to where they began
doctor       what answers, what works, what is missing
"""

from jitrl.worlds.browser.arena.arena import Arena, of_file
from jitrl.worlds.browser.arena.logins import Login
from jitrl.worlds.browser.arena.sites import Account

__all__ = ["Account", "Arena", "Login", "of_file"]
