"""A real Chromium on a real page: what the world shows, and what happens when things go wrong."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from web_site_kit import address, site

from jitrl.errors import InvalidValue, UnknownName, WorldError
from jitrl.records import Observation
from jitrl.worlds import make
from jitrl.worlds.browser.world import BrowserWorld

GOAL = 'Find the price of "Blue Mug" and type "Ann" as the name.'


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with site() as running:
        yield running


@pytest.fixture(scope="module")
def world(server: ThreadingHTTPServer) -> Iterator[BrowserWorld]:
    opened = open_world(server)
    yield opened
    opened.close()


def open_world(server: ThreadingHTTPServer, **options: object) -> BrowserWorld:
    opened = make(f"web:{address(server)}/", goal=GOAL, **options)
    assert isinstance(opened, BrowserWorld)
    return opened


def children(parent: int) -> set[int]:
    """Return the ids of all processes below one that run."""
    above = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                above[int(folder.name)] = int(fields[1])
    found: set[int] = set()
    wave = {parent}
    while wave:
        wave = {pid for pid, its in above.items() if its in wave} - found
        found |= wave
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def all_end(processes: set[int]) -> bool:
    """Say whether processes end, each within a minute."""
    handles = []
    for process in processes:
        with suppress(ProcessLookupError):
            handles.append(os.pidfd_open(process))
    try:
        return all(select.select([handle], [], [], 60)[0] for handle in handles)
    finally:
        for handle in handles:
            os.close(handle)


# --- what is shown


def test_an_observation_tells_the_page_the_task_and_the_actions(world: BrowserWorld) -> None:
    shown = world.reset(1)
    assert dict(shown.state) == {"url": "site/", "history": "", "task": GOAL}
    assert 'button "Hang"' in shown.text
    assert 'click(button("Change"))' in shown.actions
    assert 'fill(textbox("Name"), task("and type _ as the"))' in shown.actions
    assert 'send_msg_to_user(beside("Price"))' in shown.actions
    assert not any('"Off"' in action for action in shown.actions)
    assert (shown.reward, shown.score, shown.reason) == (0.0, 0.0, "")


def test_what_a_model_writes_with_ids_is_the_same_action(world: BrowserWorld) -> None:
    shown = world.reset(1)
    (line,) = [line for line in shown.text.splitlines() if 'button "Change"' in line]
    bid = line.strip()[1:].partition("]")[0]
    assert shown.reader is not None
    assert shown.reader.read(f"click('{bid}')") == 'click(button("Change"))'
    after = world.step(f'click("{bid}")')
    assert after.state["history"] == 'click(button("Change"))'
    assert "Changed" in after.text


def test_only_actions_that_changed_the_page_are_in_the_history(world: BrowserWorld) -> None:
    world.reset(1)
    world.step('click(button("Nothing"))')
    world.step('click(button("Change"))')
    again = world.step('click(button("Change"))')
    assert again.state["history"] == 'click(button("Change"))'


def test_addresses_are_known_without_ids_and_values(world: BrowserWorld) -> None:
    world.reset(1)
    assert world.step('click(link("Item"))').state["url"] == "site/item/<id>?colour"


def test_a_value_from_the_task_is_typed_and_remembered_as_a_slot(world: BrowserWorld) -> None:
    world.reset(1)
    after = world.step('fill(textbox("Name"), task("and type _ as the"))')
    assert 'value="Ann"' in after.text
    assert "Ann" not in after.state["history"]


# --- what cannot be done


@pytest.mark.parametrize(
    "action",
    [
        "",
        "look around",
        'click("9999")',
        'click(button("Off"))',
        'click(button("No such"))',
        'goto("file:///etc/passwd")',
        'goto("javascript:alert(1)")',
        "__import__('os')",
        'upload_file("1", "/etc/passwd")',
        'fill(button("Change"), "x")',
    ],
)
def test_what_cannot_be_executed_changes_nothing_and_says_why(
    world: BrowserWorld, server: ThreadingHTTPServer, action: str
) -> None:
    before = world.reset(1)
    after = world.step(action)
    assert after.reason
    assert after.state == before.state
    assert after.actions == before.actions
    assert not after.terminated


def test_wrong_calls_are_refused(server: ThreadingHTTPServer, world: BrowserWorld) -> None:
    with pytest.raises(WorldError, match="no episode"):
        open_world(server).step("go_back()")
    with pytest.raises(UnknownName):
        world.reset(1, "web:elsewhere")
    with pytest.raises(InvalidValue, match="goal"):
        make(f"web:{address(server)}/")
    with pytest.raises(InvalidValue, match="colour"):
        open_world(server, colour="red")
    with pytest.raises(InvalidValue, match="address"):
        make("web:file:///etc/passwd", goal="x")
    with pytest.raises(InvalidValue, match="password"):
        make("web:http://user:secret@127.0.0.1/", goal="x")
    with pytest.raises(WorldError, match="--chromium"):
        open_world(server, chromium="/no/such/chromium")


# --- what goes wrong on a page


def ended(shown: Observation) -> bool:
    return (shown.terminated or shown.truncated) and not shown.actions and shown.score == 0.0


def test_a_page_that_hangs_ends_the_attempt_and_the_next_one_begins(
    server: ThreadingHTTPServer,
) -> None:
    others = children(os.getpid())
    world = open_world(server, step_timeout=3)
    try:
        world.reset(1)
        after = world.step('click(button("Hang"))')
        assert ended(after)
        assert "no answer within 3 s" in after.reason
        assert children(os.getpid()) == others
        with pytest.raises(WorldError, match="over"):
            world.step("go_back()")
        assert world.reset(2).actions
    finally:
        world.close()


def test_an_attempt_has_a_time_limit(server: ThreadingHTTPServer) -> None:
    world = open_world(server, episode_timeout=1)
    try:
        world.reset(1)
        after = world.step("noop(1500)")
        assert ended(after) and after.reason
    finally:
        world.close()


@pytest.mark.parametrize("name", ["Alert", "Confirm"])
def test_a_dialog_is_dismissed_and_recorded(world: BrowserWorld, name: str) -> None:
    world.reset(1)
    after = world.step(f'click(button("{name}"))')
    assert f"a dialog was dismissed: {name.lower()}" in after.reason
    assert not after.terminated and after.actions
    assert after.reason in after.text


@pytest.mark.parametrize("how", ['click(link("In a new tab"))', 'click(button("Open"))'])
def test_a_new_tab_is_recorded_and_played_in(world: BrowserWorld, how: str) -> None:
    world.reset(1)
    after = world.step(how)
    assert "a new tab was opened" in after.reason
    assert after.state["url"] == "site/tab"
    assert "Another tab" in after.text
    back = world.step("tab_close()")
    assert back.state["url"] == "site/"


def test_a_download_is_recorded_and_not_kept(world: BrowserWorld) -> None:
    world.reset(1)
    after = world.step('click(link("Download"))')
    assert "a download was not kept: 'a b.bin'" in after.reason
    assert after.actions


def test_leaving_the_allowed_host_ends_the_attempt(
    world: BrowserWorld, server: ThreadingHTTPServer
) -> None:
    world.reset(1)
    after = world.step('click(link("Leave"))')
    assert after.terminated and ended(after)
    assert "left the allowed sites" in after.reason
    free = open_world(server, guarded=False)
    try:
        free.reset(1)
        assert not free.step('click(link("Leave"))').terminated
    finally:
        free.close()


def test_a_crash_of_the_browser_ends_the_attempt_and_the_next_one_begins(
    world: BrowserWorld,
) -> None:
    world.reset(1)
    process = world._process
    assert process is not None and process._browser is not None
    os.kill(process._browser.process, signal.SIGKILL)
    after = world.step('click(button("Change"))')
    assert ended(after) and after.reason
    assert world.reset(2).actions


def test_a_crash_of_the_page_ends_the_attempt_at_once(world: BrowserWorld) -> None:
    world.reset(1)
    process = world._process
    assert process is not None and process._browser is not None
    pages = [
        pid
        for pid in children(os.getpid())
        if b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert pages
    for pid in pages:
        os.kill(pid, signal.SIGKILL)
    after = world.step('click(button("Change"))')
    assert ended(after)
    assert "the page crashed" in after.reason
    assert world.reset(2).actions


def test_a_crash_of_the_browsers_process_ends_the_attempt(world: BrowserWorld) -> None:
    world.reset(1)
    process = world._process
    assert process is not None
    browser = process._browser
    os.kill(process._process.pid, signal.SIGKILL)
    after = world.step('click(button("Change"))')
    assert ended(after) and "ended" in after.reason
    assert browser is not None and not alive(browser.process)
    assert world.reset(2).actions


def test_a_browser_that_hangs_does_not_outlive_a_parent_that_is_killed(
    server: ThreadingHTTPServer,
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _HANG, f"web:{address(server)}/"], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == "begun\n"
        left = children(parent.pid)
        assert len(left) > 2
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert all_end(left), "a process outlives its parent"


_HANG = """
import sys, threading
from jitrl.worlds import make
world = make(sys.argv[1], goal="anything")
world.reset(1)
threading.Timer(0.5, lambda: print("begun", flush=True)).start()
world.step('click(button("Hang"))')
"""


def test_closing_ends_every_process(server: ThreadingHTTPServer) -> None:
    others = children(os.getpid())
    world = open_world(server)
    world.reset(1)
    began = children(os.getpid()) - others
    assert len(began) > 2
    world.close()
    world.close()
    assert all_end(began)
    with pytest.raises(WorldError, match="closed"):
        world.reset(1)


def test_attempts_that_cannot_begin_are_over_and_three_in_a_row_are_an_error() -> None:
    with site() as gone:
        where = address(gone)
    world = make(f"web:{where}/", goal="anything")
    try:
        for seed in (1, 2):
            shown = world.reset(seed)
            assert ended(shown)
            assert "could not begin" in shown.reason
            with pytest.raises(WorldError):
                world.step("go_back()")
        with pytest.raises(WorldError, match=f"web:{where}/ cannot begin"):
            world.reset(3)
    finally:
        world.close()


# --- the end


def test_a_message_to_the_user_ends_the_attempt_with_its_content(world: BrowserWorld) -> None:
    world.reset(1)
    after = world.step("send_msg_to_user(\"It's $12.50, isn't it?\\n1) yes, 2) no\")")
    assert after.terminated and not after.actions


def test_the_last_step_of_the_limit_is_truncated(world: BrowserWorld) -> None:
    world.reset(1, limit=2)
    assert not world.step('click(button("Change"))').truncated
    last = world.step('click(button("Nothing"))')
    assert last.truncated and not last.terminated
    with pytest.raises(WorldError, match="over"):
        world.step("go_back()")


def test_a_picture_comes_where_it_is_wanted(server: ThreadingHTTPServer) -> None:
    world = open_world(server, screenshot=True)
    try:
        image = world.reset(1).image
        assert image is not None and image.startswith(b"\x89PNG")
    finally:
        world.close()
