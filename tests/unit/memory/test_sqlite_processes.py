"""Several processes, one memory: nothing is lost, nothing is doubled, and death leaves no halves.

The processes are real: this file, run as a program, plays the parts named by `part_*`.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlite_kit import forked

import jitrl
from jitrl.errors import MemoryUnavailable
from jitrl.memory import SqliteMemory

PROCESSES = 8
EPISODES = 20
OPENINGS = 25
KILLS = 60
DEATHS_IN_STEPS = 40
STEPS = 5
KINDS = (sqlite3.Connection, sqlite3.Cursor)
CANDIDATES = [jitrl.Candidate("north", -0.5), jitrl.Candidate("south", -1.0)]


def say(text):
    """Write a line to whoever started this process."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def play(learner, id):
    """Play an episode whose steps tell whether it is whole."""
    with learner.episode("task", id=id) as episode:
        for t in range(STEPS):
            decision = episode.choose(jitrl.State(room=f"room {t}", who=id), CANDIDATES)
            episode.record(float(decision.action == "north"), terminated=t == STEPS - 1)


def assert_whole(memory, after=0):
    """Every stored episode is whole, and stored once; returns their ids."""
    ids = []
    for episode in memory.episodes(after):
        assert [step.state["room"] for step in episode.steps] == [f"room {t}" for t in range(STEPS)]
        assert {step.state["who"] for step in episode.steps} == {episode.id}
        assert episode.terminated
        ids.append(episode.id)
    assert len(set(ids)) == len(ids) == len(memory) - after
    return ids


# --- the parts ---------------------------------------------------------------------------------


def part_writer(path, name):
    """Wait for the others, then play at full speed."""
    say("ready")
    sys.stdin.readline()
    with jitrl.Learner(path, seed=int(name)) as learner:
        for i in range(EPISODES):
            play(learner, f"{name}-{i}")


def part_obedient(path):
    """Play the episode that a line on standard input names, and say so."""
    with jitrl.Learner(path) as learner:
        say("ready")
        for line in sys.stdin:
            play(learner, line.strip())
            say("stored")


def part_openings(folder):
    """Let processes open new files at the same moment; print how they failed."""
    failures = []
    for i in range(OPENINGS):
        start, go = os.pipe()
        told, tell = os.pipe()
        children = [forked(opening, f"{folder}/{i}.db", k, start, go, tell) for k in range(4)]
        for end in (start, go, tell):
            os.close(end)  # nobody holds the writing end any more: the children see its end
        for child in children:
            os.waitpid(child, 0)
        with os.fdopen(told) as lines:
            failures += lines.read().splitlines()
        with closing(SqliteMemory(f"{folder}/{i}.db")) as memory:
            if len(memory) != len(children):
                failures.append(f"{len(memory)} episodes instead of {len(children)}")
    say(json.dumps(failures))


def opening(path, name, start, go, tell):
    os.close(go)
    os.read(start, 1)
    try:
        with closing(SqliteMemory(path)) as memory:
            memory.append(jitrl.Episode(str(name), "", ()))
    except Exception as error:  # noqa: BLE001  (whatever it is, the parent wants to know)
        os.write(tell, f"{error!r}\n".encode())


def part_kills(path, seed):
    """Kill a writer at some point of its work, again and again; print what it had acknowledged."""
    rng = random.Random(int(seed))
    acknowledged, counts = [], [0]
    for i in range(KILLS):
        told, tell = os.pipe()
        child = forked(talking_writer, path, f"life-{i}", tell)
        os.close(tell)
        heard = b""
        patience = rng.randrange(1, 200)  # bytes: somewhere between opening and the fifth episode
        while len(heard) < patience and (more := os.read(told, 1)):
            heard += more
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(told, 4096):  # acknowledged before it died
            heard += more
        os.close(told)
        lines = [line for line in heard.decode().split("\n")[:-1] if line.startswith("+")]
        acknowledged += [line[1:] for line in lines]
        with closing(SqliteMemory(path, readonly=True)) as memory:
            assert_whole(memory, after=counts[-1])
            counts.append(len(memory))
    say(json.dumps([acknowledged, counts]))


def talking_writer(path, name, tell):
    """Play on and on; tell what is under way, and with a "+" what has been stored."""
    with jitrl.Learner(path) as learner:
        for i in range(1000):
            os.write(tell, b"begins....\n")
            play(learner, f"{name}-{i}")
            os.write(tell, f"+{name}-{i}\n".encode())


def part_deaths(path, seed):
    """Let a writer die by its own hand before or after its n-th call of SQLite, for many n."""
    rng = random.Random(int(seed))
    acknowledged = []
    for i in range(DEATHS_IN_STEPS):
        told, tell = os.pipe()
        child = forked(doomed_writer, path, f"doomed-{i}", rng.randrange(1, 200), tell)
        os.close(tell)
        os.waitpid(child, 0)
        with os.fdopen(told) as lines:
            acknowledged += lines.read().split()
        with closing(SqliteMemory(path)) as memory:
            assert_whole(memory)
    say(json.dumps(acknowledged))


def doomed_writer(path, name, calls, tell):
    left = calls

    def count(frame, event, argument):
        nonlocal left
        called = getattr(argument, "__self__", None)
        if event in ("c_call", "c_return") and isinstance(called, KINDS):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    with jitrl.Learner(path) as learner:
        sys.setprofile(count)
        for i in range(100):
            play(learner, f"{name}-{i}")
            os.write(tell, f"{name}-{i}\n".encode())


def part_fork(path):
    """Fork with an open learner, and with a thread that is using it."""
    learner = jitrl.Learner(path)
    play(learner, "before")
    say(in_a_child(lambda: learner.episode()))
    say(in_a_child(lambda: len(learner.memory)))
    say(in_a_child(lambda: learner.memory.append(jitrl.Episode("x", "", ()))))
    say(in_a_child(lambda: learner.close()))
    say(in_a_child(lambda: play(jitrl.Learner(path), "by a child that opened it anew")))

    held, done = threading.Event(), threading.Event()

    def hold():
        with learner.memory._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    say(in_a_child(lambda: len(learner.memory)))
    say(in_a_child(lambda: learner.memory.close()))
    done.set()
    thread.join()
    play(learner, "after")
    learner.close()
    say(in_a_child(lambda: play(jitrl.Learner(path), "by a child that opened it alone")))


def in_a_child(use):
    """What `use` comes to in a forked process; it has a minute."""
    told, tell = os.pipe()

    def attempt():
        signal.alarm(60)
        try:
            use()
        except jitrl.errors.JitrlError as error:
            os.write(tell, f"{type(error).__name__}: {error}".encode())
        else:
            os.write(tell, b"fine")

    child = forked(attempt)
    os.close(tell)
    os.waitpid(child, 0)
    with os.fdopen(told) as lines:
        return lines.read() or "nothing"


def part_full_disk(path):
    """Run out of room for the file, be told so, get room, and store after all."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    learner = jitrl.Learner(path)
    play(learner, "before")
    room = Path(f"{path}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (room + 5000, -1))
    episode = learner.episode("task", id="big")
    for t in range(STEPS):
        episode.choose(jitrl.State(room=f"room {t}", who="big", text=f"{t} " * 5000), CANDIDATES)
        episode.record(1.0, terminated=t == STEPS - 1)
    for _ in range(2):
        try:
            episode.close()
        except MemoryUnavailable as error:
            say(error)
    say([found.id for found in learner.memory.episodes()])
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    episode.close()
    episode.close()
    play(learner, "after")
    say([found.id for found in learner.memory.episodes()])
    learner.close()


# --- the tests ---------------------------------------------------------------------------------


def start(part, *arguments):
    """Start this file as a program that plays `part`."""
    return subprocess.Popen(
        [sys.executable, __file__, part, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(part, *arguments):
    """Play `part` to its end; returns the lines it printed."""
    with start(part, *arguments) as process:
        out, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    return out.splitlines()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


def test_eight_processes_that_create_and_fill_one_memory_lose_nothing(path):
    with ExitStack() as stack:
        writers = [stack.enter_context(start("writer", path, n)) for n in range(PROCESSES)]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        endings = [writer.communicate(timeout=120) for writer in writers]
        assert endings == [("", "")] * PROCESSES
        assert [writer.returncode for writer in writers] == [0] * PROCESSES
    with closing(SqliteMemory(path)) as memory:
        ids = assert_whole(memory)
    assert Counter(ids) == Counter(f"{n}-{i}" for n in range(PROCESSES) for i in range(EPISODES))
    for name in range(PROCESSES):  # each writer's own, in its order
        assert [id for id in ids if id.startswith(f"{name}-")] == [
            f"{name}-{i}" for i in range(EPISODES)
        ]


def test_processes_that_open_a_new_file_at_the_same_moment_all_succeed(tmp_path):
    assert run("openings", tmp_path) == ["[]"]


def test_an_episode_of_another_process_is_seen_by_the_next_episode(path):
    state = jitrl.State(room="room 0", who="theirs")
    with jitrl.Learner(path, min_evidence=1) as learner, start("obedient", path) as other:
        assert other.stdout.readline() == "ready\n"
        early = learner.episode()
        other.stdin.write("theirs\n")
        other.stdin.flush()
        assert other.stdout.readline() == "stored\n"
        late = learner.episode()
        assert early.choose(state, CANDIDATES).neighbours == ()
        assert {found.episode for found in late.choose(state, CANDIDATES).neighbours} == {"theirs"}
        other.stdin.close()
        assert other.wait(timeout=60) == 0
        assert other.stderr.read() == ""


def test_an_episode_is_there_for_other_processes_once_the_block_is_left(path):
    with jitrl.Learner(path) as learner:
        play(learner, "mine")
        with start("obedient", path) as other:
            assert other.stdout.readline() == "ready\n"
            held = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            with closing(held) as db:
                assert db.execute("SELECT id FROM episodes").fetchall() == [("mine",)]
            other.stdin.close()
            assert other.wait(timeout=60) == 0


def test_a_killed_writer_loses_nothing_that_it_acknowledged_and_leaves_no_halves(path):
    acknowledged, counts = json.loads(run("kills", path, 0)[0])
    with closing(SqliteMemory(path)) as memory:
        ids = assert_whole(memory)
    assert set(acknowledged) <= set(ids)
    unacknowledged = [id.rpartition("-")[0] for id in ids if id not in set(acknowledged)]
    assert len(unacknowledged) == len(set(unacknowledged)), "more than the one in flight"
    assert counts == sorted(counts), "an episode that was there is gone"
    assert len(acknowledged) > KILLS  # they were killed at work, not at birth
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_death_before_or_after_any_call_of_sqlite_leaves_whole_episodes(path):
    acknowledged = json.loads(run("deaths", path, 0)[0])
    with closing(SqliteMemory(path)) as memory:
        ids = assert_whole(memory)
    assert set(acknowledged) <= set(ids)
    assert len(ids) - len(acknowledged) <= DEATHS_IN_STEPS
    assert acknowledged


def test_a_learner_carried_over_a_fork_says_so_and_the_parent_goes_on(path):
    *uses, closed, anew, while_held, closed_while_held, alone = run("fork", path)
    assert "was open when this process was forked from another one: fork before" in anew
    for said in (*uses, while_held):
        assert said.startswith(
            (f"MemoryUnavailable: memory {str(path)!r} ", "MemoryUnavailable: an i")
        )
        assert "was opened before this process was forked: fork first" in said
    assert (len(uses), closed, closed_while_held, alone) == (3, "fine", "fine", "fine")
    with closing(SqliteMemory(path)) as memory:
        assert assert_whole(memory) == ["before", "after", "by a child that opened it alone"]


def test_a_new_memory_is_not_begun_beside_the_log_of_one_that_is_gone(path):
    memory = SqliteMemory(path)
    memory.append(jitrl.Episode("old", "", ()))
    path.unlink()
    with pytest.raises(MemoryUnavailable, match="is gone, and its log"):
        SqliteMemory(path)
    assert not path.exists()
    memory.close()


def test_an_episode_that_found_no_room_can_be_closed_again_once_there_is_some(path):
    *errors, held, in_the_end = run("full_disk", path)
    assert len(errors) == 2
    for error in errors:
        assert error.startswith(f"memory {str(path)!r}: ")
        assert "disk" in error
    assert held == "['before']"
    assert in_the_end == "['before', 'big', 'after']"
    with closing(SqliteMemory(path)) as memory:
        assert len(assert_whole(memory)) == 3


if __name__ == "__main__":
    globals()[f"part_{sys.argv[1]}"](*sys.argv[2:])


def test_a_forked_child_that_ends_late_takes_nothing_along(path):
    """It inherits a connection that its parent has closed since; others begin a new log."""
    child = """
import os, signal, sys
from jitrl.memory import SqliteMemory
from jitrl.records import Episode
memory = SqliteMemory(sys.argv[1])
read, write = os.pipe()
late = os.fork()
if not late:
    os.close(write)
    os.read(read, 1)
    sys.exit(0)
os.close(read)
memory.close()
if not os.fork():
    os.close(write)
    SqliteMemory(sys.argv[1]).append(Episode("kept", "", ()))
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
os.close(write)
os.waitpid(late, 0)
"""
    subprocess.run([sys.executable, "-c", child, str(path)], check=True, timeout=60)
    with closing(SqliteMemory(path)) as memory:
        assert [episode.id for episode in memory.episodes()] == ["kept"]
