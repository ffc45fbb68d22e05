"""A real Chromium, where things go wrong: on a page, in the browser, and after its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from process_kit import alive, all_end, children
from web_site_kit import GOAL, address, ended, open_world, site

from jitrl.errors import WorldError
from jitrl.worlds import make
from jitrl.worlds.browser.world import BrowserWorld

# --- on a page


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


@pytest.mark.parametrize(
    "action",
    ['click(link("Slow"))', 'click(link("In halves"))', 'press(textbox("Word"), "Enter")'],
)
def test_a_page_that_takes_long_is_waited_for_and_no_failure(
    server: ThreadingHTTPServer, action: str
) -> None:
    world = open_world(server, "/late")
    try:
        world.reset(1)
        shown = world.step(action)
        assert shown.state["history"] == action
        assert "Here at last" in shown.text
        assert shown.reason == ""
    finally:
        world.close()


@pytest.mark.parametrize("name", ["Alert", "Confirm"])
def test_a_dialog_is_dismissed_and_recorded(world: BrowserWorld, name: str) -> None:
    world.reset(1)
    after = world.step(f'click(button("{name}"))')
    assert f"a dialog was dismissed: {name.lower()}" in after.reason
    assert not after.terminated and after.actions
    assert after.reason in after.text


def test_a_prompt_is_dismissed_and_nothing_is_typed(world: BrowserWorld) -> None:
    world.reset(1)
    after = world.step('click(button("Prompt"))')
    assert "a dialog was dismissed: prompt 'Who?'" in after.reason
    assert "Title: nobody" in after.text
    assert not after.terminated and after.actions


@pytest.mark.parametrize("way", ['click(link("Shop"))', "goto('{site}/shop')", "tab_close()"])
def test_a_page_that_asks_whether_to_leave_it_can_be_left(
    server: ThreadingHTTPServer, way: str
) -> None:
    with closing(open_world(server, "/unsaved")) as world:
        world.reset(1)
        edited = world.step('click(button("Edit"))')
        assert (edited.reason, "Title: edited" in edited.text) == ("", True)
        after = world.step(way.format(site=address(server)))
        assert after.state["url"] != "site/unsaved"
        if way != "tab_close()":  # which asks nobody
            assert after.reason == "a dialog was accepted: beforeunload ''"
            assert after.state["url"] == "site/shop"


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


@pytest.mark.parametrize("after", [0.0, 1.0])
def test_a_crash_of_the_driver_between_browser_and_process_ends_the_attempt_at_once(
    world: BrowserWorld, after: float
) -> None:
    world.reset(1)
    process = world._process
    assert process is not None
    began = children(process._process.pid)
    (driver,) = [pid for pid in began if b"run-driver" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    killed = threading.Timer(after, os.kill, (driver, signal.SIGKILL))
    killed.start()
    if not after:
        killed.join()  # nothing is asked meanwhile
    ended_at_once = world.step("noop(10000)")
    assert ended(ended_at_once)
    assert "the browser's driver ended" in ended_at_once.reason
    assert all_end(began)
    assert world.reset(2).actions


def test_a_browser_that_hangs_does_not_outlive_a_parent_that_is_killed(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _HANG, f"web:{address(server)}/"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
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
    assert not list(tmp_path.iterdir()), "it leaves files behind"


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


def test_a_tab_behind_that_calls_for_attention_takes_no_action(server: ThreadingHTTPServer) -> None:
    world = open_world(server, "/front")
    try:
        world.reset(1)
        assert world.step('click(link("Open"))').state["url"] == "site/pushy"
        shown = world.step("tab_focus(0)")
        assert shown.state["url"] == "site/front"
        assert 'click(button("Go"))' in shown.actions and '"Buy"' not in shown.text
        shown = world.step('click(button("Go"))')
        assert shown.state["url"] == "site/front" and "Title: went" in shown.text
        assert "Title: Pushy" in world.step("tab_focus(1)").text
    finally:
        world.close()


@pytest.mark.parametrize("name", ["Open and close", "Open thirty"])
def test_tabs_that_come_and_go_do_not_end_the_attempt(
    server: ThreadingHTTPServer, name: str
) -> None:
    world = open_world(server, "/front")
    try:
        world.reset(1)
        for _ in range(4):
            shown = world.step(f'click(button("{name}"))')
            assert not shown.truncated
            assert ("Another tab" in shown.text) == (shown.state["url"] == "site/tab")
            shown = world.step("tab_focus(0)")
            assert not shown.truncated
        assert len(shown.text) < 10_000
    finally:
        world.close()


def test_a_page_that_opens_and_closes_windows_all_the_time_is_read(
    server: ThreadingHTTPServer,
) -> None:
    world = open_world(server, "/windows")
    try:
        assert not world.reset(1).truncated
        for _ in range(6):
            shown = world.step("tab_focus(0)")
            assert not shown.truncated
            assert ("Another tab" in shown.text) == (shown.state["url"] == "site/tab")
    finally:
        world.close()


def test_a_page_without_a_title_has_none_until_it_has_one(server: ThreadingHTTPServer) -> None:
    world = open_world(server, "/untitled")
    try:
        assert "Title: \n" in world.reset(1).text
        assert "Title: went\n" in world.step('click(button("Go"))').text
    finally:
        world.close()


def test_ids_that_a_page_gives_its_elements_itself_do_not_matter(
    server: ThreadingHTTPServer,
) -> None:
    world = open_world(server, "/marked")
    try:
        shown = world.reset(1)
        assert {f'click(button("{name}"))' for name in ("One", "Two", "Three")} <= {*shown.actions}
        assert "Title: one" in world.step('click(button("One"))').text
    finally:
        world.close()


def test_frames_that_come_and_go_do_not_end_the_attempt(server: ThreadingHTTPServer) -> None:
    world = open_world(server, "/restless")
    try:
        world.reset(1)
        for _ in range(4):
            shown = world.step('click(button("Go"))')
            assert not shown.truncated and "Title: went" in shown.text
    finally:
        world.close()


def test_an_endless_address_is_cut(server: ThreadingHTTPServer) -> None:
    world = open_world(server, "/long")
    try:
        world.reset(1)
        shown = world.step('click(button("Go"))')
        assert "word-word" in shown.state["url"]
        assert len(shown.state["url"]) <= 300 and len(shown.text) < 1000
        assert len(world.step(f'foo("{"9" * 9999}")').reason) <= 300
    finally:
        world.close()


def test_of_very_many_elements_some_are_proposed(server: ThreadingHTTPServer) -> None:
    world = open_world(server, "/many")
    try:
        shown = world.reset(1)
        assert 500 <= len(shown.actions) < 510
        assert 'click(button("b0"))' in shown.actions
        assert "Note" not in world.step('click(button("b2999"))').text
    finally:
        world.close()


def test_only_files_of_the_folder_are_uploaded(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "out").symlink_to("/etc/passwd")
    world = open_world(server, "/upload", uploads=tmp_path)
    try:
        world.reset(1)
        for name in ("n" * 300, "loop", "a\0", "out", "../mine", ".", ""):
            refused = world.step(f'upload_file(button("File"), {name!r})')
            assert "uploads no file of" in refused.reason and not refused.truncated
        assert not world.step('upload_file(button("File"), "mine")').reason
    finally:
        world.close()


def test_the_address_may_be_written_in_another_way(server: ThreadingHTTPServer) -> None:
    port = server.server_address[1]
    world = make(f"web:http://127.1:0{port}/", goal=GOAL)
    try:
        shown = world.reset(1)
        assert not shown.reason and shown.actions
    finally:
        world.close()


# --- what is left behind


def test_a_module_in_the_folder_of_the_user_is_not_taken_for_another(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('not this one')")
    script = (
        "import sys; sys.path.remove(''); from jitrl.worlds import make;"
        "world = make(sys.argv[1], goal='x'); print(world.reset(1).state['url']); world.close()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, f"web:{address(server)}/"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.stdout == "site/\n", ran.stderr


def test_no_file_of_a_browser_is_left_behind(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    world = open_world(server)
    world.reset(1)
    assert any(any(folder.iterdir()) for folder in tmp_path.iterdir()), "it writes elsewhere"
    process = world._process
    assert process is not None and process._browser is not None
    os.kill(process._browser.process, signal.SIGKILL)
    assert ended(world.step('click(button("Change"))'))
    assert not list(tmp_path.iterdir())
    world.reset(2)
    world.close()
    assert not list(tmp_path.iterdir())
