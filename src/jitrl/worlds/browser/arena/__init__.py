"""WebArena, WebArena-Lite and WebArena-Verified: real sites, judged by the benchmarks' own rules.

sites        addresses and accounts: options, variables, a file
tasks        task files: read, chosen from, filled with addresses
logins       logging in once, through the page; noticing that it has expired
expressions  the helper calls of task files, read and never evaluated
theirs       the benchmarks' own evaluators, run with what they import put in place
judging      the verdict: asked once, in tabs of its own
arena        WebArena, WebArena-Lite and other files of tasks, as benchmarks
verified     WebArena-Verified, judged by its own command in an interpreter of its own
task         a task as BrowserGym plays it
reset        bringing the sites back to where they began
doctor       what answers, what works, what is missing
"""

from jitrl.worlds.browser.arena.arena import Arena, of_file
from jitrl.worlds.browser.arena.logins import Login
from jitrl.worlds.browser.arena.sites import Account

__all__ = ["Account", "Arena", "Login", "of_file"]
