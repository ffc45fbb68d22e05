from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from jitrl.worlds.action_cache import ActionCache, default_path

WRITER = """
import sys
from jitrl.worlds.action_cache import ActionCache
cache = ActionCache(sys.argv[1])
for n in range(int(sys.argv[3])):
    cache.put([f"action {n}", sys.argv[2]], sys.argv[2], str(n))
    print(n, flush=True)
"""


def writer(path: Path, name: str, n: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(n)], stdout=subprocess.PIPE, text=True
    )


def test_what_was_put_is_got_again_also_by_a_later_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "actions.db"
    cache = ActionCache(path)
    assert cache.get("game", "state") is None
    cache.put(("look", "caf\u00e9; x"), "game", "state")
    cache.put([], "game", "over")
    assert cache.get("game", "state") == ("look", "caf\u00e9; x")
    cache.close()
    cache.close()
    later = ActionCache(path)
    assert later.get("game", "state") == ("look", "caf\u00e9; x")
    assert later.get("game", "over") == ()
    assert later.get("state", "game") is None
    assert later.get("gamestate") is None
    later.close()


def test_the_list_stored_first_stays(tmp_path: Path) -> None:
    one, two = ActionCache(tmp_path / "a.db"), ActionCache(tmp_path / "a.db")
    one.put(["north"], "k")
    two.put(["south"], "k")
    one.close()
    two.close()
    later = ActionCache(tmp_path / "a.db")
    assert later.get("k") == ("north",)
    later.close()


def test_without_a_file_it_lasts_as_long_as_the_object() -> None:
    cache = ActionCache(None)
    cache.put(["north"], "k")
    assert cache.get("k") == ("north",)
    cache.close()


def test_several_processes_share_one_file_from_its_creation_on(tmp_path: Path) -> None:
    path = tmp_path / "actions.db"
    writers = [writer(path, name, 100) for name in "abcd"]
    for process in writers:
        process.communicate(timeout=60)
        assert process.returncode == 0
    cache = ActionCache(path)
    for name in "abcd":
        for n in range(100):
            assert cache.get(name, str(n)) == (f"action {n}", name)
    cache.close()


def test_killing_a_writer_loses_nothing_it_had_stored(tmp_path: Path) -> None:
    path = tmp_path / "actions.db"
    process = writer(path, "a", 1_000_000)
    assert process.stdout is not None
    last = -1
    while last < 200:
        last = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    cache = ActionCache(path)
    assert all(cache.get("a", str(n)) == (f"action {n}", "a") for n in range(last + 1))
    cache.put(["on"], "b")
    assert cache.get("b") == ("on",)
    cache.close()


def _in_child(cache: ActionCache, out: multiprocessing.queues.SimpleQueue[object]) -> None:
    cache.put(["child"], "child")
    out.put(cache.get("parent"))
    os._exit(0)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_opens_the_file_anew(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    cache = ActionCache(tmp_path / "a.db")
    cache.put(["parent"], "parent")
    out = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(cache, out), daemon=True)
    child.start()
    assert out.get() == ("parent",)
    child.join()
    assert child.exitcode == 0
    assert cache.get("child") == ("child",)
    cache.close()


def check_goes_on_without(path: Path, why: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        cache = ActionCache(path)
        assert cache.get("k") is None
        cache.put(["north"], "k")
        assert cache.get("k") == ("north",)
        cache.close()
    assert len(caplog.records) == 1
    assert why in caplog.text and str(path) in caplog.text


@pytest.mark.parametrize(
    "content", [b"not a database " * 100, b"SQLite format 3\0" + b"\xff" * 9000]
)
def test_a_file_of_something_else_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "thesis.txt"
    path.write_bytes(content)
    check_goes_on_without(path, "not a database", caplog)
    assert path.read_bytes() == content


def test_another_program_s_database_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE found (key, actions, digest)")
    other.close()
    before = path.read_bytes()
    check_goes_on_without(path, "a database of something else", caplog)
    assert path.read_bytes() == before


def test_a_later_layout_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.db"
    ActionCache(path).close()
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 2")
    later.close()
    check_goes_on_without(path, "layout 2, this version of jitrl reads 1", caplog)


def test_a_place_that_cannot_be_written_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    check_goes_on_without(tmp_path / "file" / "actions.db", "File exists", caplog)
    caplog.clear()
    check_goes_on_without(tmp_path, "unable to open", caplog)


def test_a_changed_entry_is_never_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.db"
    cache = ActionCache(path)
    cache.put(["north"], "k")
    cache.close()
    path.write_bytes(path.read_bytes().replace(b'["north"]', b'["south"]'))
    check_goes_on_without(path, "does not match its checksum", caplog)


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_a_truncated_file_costs_time_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, at: float
) -> None:
    path = tmp_path / "a.db"
    cache = ActionCache(path)
    for n in range(300):
        cache.put([f"action {n}"], str(n))
    cache.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * at)])
    with caplog.at_level(logging.WARNING):
        cache = ActionCache(path)
        for n in range(300):
            assert cache.get(str(n)) in (None, (f"action {n}",))
        cache.close()
    assert len(caplog.records) <= 1


def test_the_file_s_place_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JITRL_CACHE", str(tmp_path / "mine"))
    assert default_path() == tmp_path / "mine" / "jericho-actions.db"
    monkeypatch.delenv("JITRL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "jitrl" / "jericho-actions.db"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".cache" / "jitrl" / "jericho-actions.db"
