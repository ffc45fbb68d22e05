"""Web pages as worlds: real tasks in a real Chromium, over BrowserGym.

benchmark   where tasks come from and who judges them: a contract, one file for each kind
host        a process that owns a browser and plays tasks in it; `process` is our end of it
page        what a page shows: elements with role, name, ordinal and landmark; no volatile ids
language    actions as text, written and read as Python literals; `slots`: parts of the task
grammar     from what an agent wrote to what is remembered, and to what can be executed here
address     a URL with ids, hashes and dates taken out
world       all of these behind the contract of `jitrl.worlds.Suite`
"""
