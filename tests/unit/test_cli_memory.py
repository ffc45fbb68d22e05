from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cli_kit import Cli, complaint
from memory_cli_kit import EPISODES, command_line, episode, fill, ids, step, told

from jitrl import Learner, State
from jitrl.memory import Selection, SqliteMemory
from jitrl.memory.packs import codec

EVERY = ["a-0", "a-1", "b-0", "c-0"]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    fill(tmp_path / "m.db")
    return command_line(monkeypatch, capsys, tmp_path)


def held_back(path: Path | str = "m.db") -> None:
    """Put one episode into quarantine, and roll another one back."""
    with closing(SqliteMemory(path)) as memory:
        memory.quarantine(Selection(id="b-0"), "hallucinated")
        memory.snapshot("all")


COMMANDS = (
    *("stats", "show", "neighbours", "snapshots", "diff", "verify"),
    *("snapshot", "rollback", "quarantine", "release", "forget", "cap"),
    *("export", "import", "merge", "repair", "vacuum"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_fits_a_terminal(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = cli(command, "--help")
    assert (code, "Usage" in out) == (0, True)
    assert max(map(len, out.splitlines())) <= 80


def test_stats_count_what_there_is_and_what_became_of_it(cli: Cli, tmp_path: Path) -> None:
    held_back()
    found = told(cli("stats", "m.db", "--json"))
    assert found["bytes"] >= (tmp_path / "m.db").stat().st_size
    del found["bytes"], found["index_bytes"]
    assert found == {
        "episodes": 4,
        "present": 3,
        "quarantined": 1,
        "rolled_back": 0,
        "ended": 4,
        "steps": 8,
        "states": 4,
        "tasks": {"house": 3, "garden": 1},
        "runs": {"a": 2, "b": 1, "c": 1},
        "sources": {"a": 2, "b": 1, "team C": 1},
        "first_stored": "2026-11-24T12:00:00.000+00:00",
        "last_stored": "2026-11-27T12:00:00.000+00:00",
        "cap": None,
        "snapshots": ["all"],
    }
    out = cli("stats", "m.db")[1]
    assert re.search(r"present +3", out)
    assert "2026-11-24 12:00:00 to 2026-11-27 12:00:00 UTC" in out


def test_stats_of_an_empty_memory_are_zeros(cli: Cli) -> None:
    fill("empty.db", ())
    assert told(cli("stats", "empty.db", "--json"))["episodes"] == 0
    assert "nothing yet" in cli("stats", "empty.db")[1]


def test_to_look_changes_no_byte(cli: Cli, tmp_path: Path) -> None:
    before = (tmp_path / "m.db").read_bytes()
    for words in (
        ("stats",),
        ("show",),
        ("show", "--episode", 2),
        ("neighbours", "--of", 2),
        ("snapshots",),
        ("verify",),
        ("cap",),
    ):
        assert cli(words[0], "m.db", *words[1:])[0] == 0
    assert (tmp_path / "m.db").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), EVERY),
        (("--run", "a"), EVERY[:2]),
        (("--task", "garden"), ["b-0"]),
        (("--source", "team C"), ["c-0"]),
        (("--id", "a-1"), ["a-1"]),
        (("--since", "2026-11-26"), EVERY[2:]),
        (("--until", "2026-11-25T13:00+01:00"), EVERY[:1]),
        (("--since", "2026-11-25", "--until", "2026-11-27", "--task", "house"), ["a-1"]),
        (("--text", "red door"), ["a-1"]),
        (("--text", "no such thing"), []),
        (("--limit", 3), EVERY[1:]),
    ],
)
def test_episodes_are_listed_by_what_is_asked_for(
    cli: Cli, words: tuple[object, ...], found: list[str]
) -> None:
    assert ids(cli("show", "m.db", "--json", *words)) == found


def test_what_is_held_back_is_shown_when_asked_for(cli: Cli) -> None:
    held_back()
    assert ids(cli("show", "m.db", "--json")) == ["a-0", "a-1", "c-0"]
    out = cli("show", "m.db")[1]
    assert ("b-0" in out, "1 that are not present: --all" in out) == (False, True)
    out = cli("show", "m.db", "--all")[1]
    assert "quarantine: hallucinated" in out
    (entry,) = told(cli("show", "m.db", "--quarantined", "--json"))
    assert (entry["id"], entry["quarantined"]) == ("b-0", "hallucinated")
    assert entry["status"] == "quarantined"


def test_older_episodes_are_counted_where_a_limit_leaves_them_out(cli: Cli) -> None:
    assert "and 3 older: --limit 4" in cli("show", "m.db", "--limit", 1)[1]


@pytest.mark.parametrize("name", ["2", "a-1"])
def test_an_episode_is_shown_by_its_number_or_its_id(cli: Cli, name: str) -> None:
    out = cli("show", "m.db", "--episode", name)[1]
    assert "episode 2, a-1;" in out
    assert "open the red door" in out
    assert codec.loads(cli("show", "m.db", "--episode", name, "--json")[1]) == EPISODES[1]


def test_a_policy_that_does_not_name_the_action_is_shown_empty(cli: Cli) -> None:
    fill("n.db", (episode("x", "a", replace(step(0, "attic"), before={}, after={"wait": 1.0})),))
    code, out, _ = cli("show", "n.db", "--episode", 1)
    assert code == 0
    assert "go east" in out


def test_an_id_comes_before_a_number(cli: Cli) -> None:
    fill("n.db", (EPISODES[0], episode("1", "x", step(0, "attic"))))
    assert "episode 2, 1;" in cli("show", "n.db", "--episode", 1)[1]


def test_one_that_is_held_back_is_shown_and_marked(cli: Cli) -> None:
    held_back()
    assert "quarantine: hallucinated" in cli("show", "m.db", "--episode", 3)[1]


def test_scores_of_a_judge_are_shown_where_there_are_any(cli: Cli) -> None:
    assert "judged" not in cli("show", "m.db", "--episode", 1)[1]
    with closing(SqliteMemory("m.db")) as memory:
        memory.judge("a-0", [0.25, None])
    assert re.search(r"0 +go east +0 +0\.25", cli("show", "m.db", "--episode", 1)[1])


def test_neighbours_are_those_that_a_learner_would_retrieve(cli: Cli) -> None:
    query = State(room="You stand in hall number 1 of the old house.", inventory="a lamp")
    words = [f"--state={name}={text}" for name, text in query.items()]
    options = ("--set", "threshold=0.3", "--set", "k=2", "--set", "k_counts=states")
    found = told(cli("neighbours", "m.db", *words, *options, "--json"))
    with Learner("m.db", frozen=True, threshold=0.3, k=2, k_counts="states") as learner:
        near = learner.retrieve(query)
    assert [(one["similarity"], one["return"], one["episode"], one["step"]) for one in found] == [
        (one.similarity, one.return_, one.episode, one.t) for one in near
    ]
    assert found[0]["similarity"] == 1.0
    assert (found[0]["episode"], found[0]["source"]) == ("c-0", "team C")
    assert found[0]["state"] == dict(query)


def test_a_stored_step_can_be_asked_for(cli: Cli) -> None:
    (found,) = told(cli("neighbours", "m.db", "--of", "a-1", "--step", 1, "--json"))
    assert (found["action"], found["return"]) == ("open the red door", -2.0)
    out = cli("neighbours", "m.db", "--of", 2, "--step", 1)[1]
    assert "cellar number 1" in out
    assert re.search(r"1\.000 +-2 +open the red door +a-1 +1", out)


def test_nothing_similar_is_said(cli: Cli) -> None:
    code, out, _ = cli("neighbours", "m.db", "--state", "room=elsewhere")
    assert (code, "nothing is similar enough" in out) == (0, True)


def test_snapshots_and_their_difference_are_listed(cli: Cli) -> None:
    assert "no snapshot" in cli("snapshots", "m.db")[1]
    held_back()
    (made,) = told(cli("snapshots", "m.db", "--json"))
    assert (made["name"], made["episodes"]) == ("all", 3)
    assert re.search(r"all +\d{4}-\d\d-\d\d .* 3", cli("snapshots", "m.db")[1])
    fill("m.db", (episode("d-0", "d"),))
    assert told(cli("diff", "m.db", "all", "--json")) == {"added": ["d-0"], "removed": []}
    out = cli("diff", "m.db", "all")[1]
    assert "1 episode in what is present now and not in 'all'" in out
    assert "d-0" in out
    assert told(cli("diff", "m.db", "all", "all", "--json")) == {"added": [], "removed": []}
    assert "must be one of: all" in complaint(cli("diff", "m.db", "none"), 2)


def test_a_difference_is_limited(cli: Cli) -> None:
    fill("n.db", ())
    with closing(SqliteMemory("n.db")) as memory:
        memory.snapshot("nothing")
    fill("n.db")
    out = cli("diff", "n.db", "nothing", "--limit", 1)[1]
    assert "4 episodes in what is present" in out
    assert "and 3 more: --limit" in out


def test_a_sound_memory_is_said_to_be_sound(cli: Cli) -> None:
    assert told(cli("verify", "m.db", "--json")) == []
    code, out, err = cli("verify", "m.db")
    assert (code, "sound" in out, err) == (0, True, "")


def test_damage_is_listed_with_the_episode_and_the_remedy(cli: Cli) -> None:
    with closing(sqlite3.connect("m.db")) as database, database:
        database.execute("UPDATE steps SET reward = 5 WHERE episode = 2 AND t = 1")
    code, out, err = cli("verify", "m.db")
    assert code == 1
    assert re.search(r"a-1 +lost", out)
    assert err.count("\n") == 1
    assert "jitrl memory repair m.db" in err
    code, out, _ = cli("verify", "m.db", "--json")
    assert code == 1
    assert any((one["number"], one["lost"]) == (2, True) for one in json.loads(out))


def test_damage_to_the_index_is_told_and_harmless(cli: Cli, tmp_path: Path) -> None:
    ask = ("neighbours", "m.db", "--of", "a-1", "--step", 1, "--json")
    before = told(cli(*ask))
    (file,) = (tmp_path / "m.db-index").rglob("*.part")
    assert cli("verify", "m.db")[0] == 0
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    code, out, err = cli("verify", "m.db")
    assert (code, "is damaged" in out, "can be mended" in out) == (1, True, True)
    assert "the memory itself is sound" in err
    code, out, err = cli(*ask)
    assert (code, json.loads(out)) == (0, before)
    assert (err.startswith("jitrl: "), "built anew" in err, err.count("\n")) == (True, True, 1)
    assert cli("verify", "m.db")[0] == 0


def test_what_an_episode_says_cannot_control_the_terminal(cli: Cli) -> None:
    hostile = "\x1b]0;owned\x07[bold]\r\x1b[2J"
    bad = replace(step(0, hostile), action=hostile, before={hostile: 1.0}, after={hostile: 1.0})
    fill("h.db", (episode(hostile, hostile, bad, task=hostile, source=hostile),))
    for words in (
        ("stats", "h.db"),
        ("show", "h.db"),
        ("show", "h.db", "--episode", 1),
        ("neighbours", "h.db", "--of", 1),
        ("quarantine", "h.db", "--run", hostile, "--why", hostile, "--yes"),
        ("show", "h.db", "--all"),
    ):
        code, out, err = cli(*words)
        assert (code, err) == (0, "")
        assert not {"\x1b", "\x07", "\r"} & set(out)
        assert "[bold]" in out


def test_tables_fit_a_narrow_terminal_and_keep_ids_whole(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    id = "0123456789abcdef-0123"
    long = replace(
        step(0, "room " * 40), action="go " * 30, before={"go " * 30: 1.0}, after={"go " * 30: 1.0}
    )
    fill("l.db", (episode(id, "r" * 30, long, task="a long task " * 9),))
    for words in (
        ("show",),
        ("show", "--all"),
        ("show", "--episode", 1),
        ("neighbours", "--of", 1),
    ):
        out = cli(words[0], "l.db", *words[1:])[1]
        assert max(map(len, out.splitlines())) <= 80
        assert id in out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("show", "m.db", "--limit", 0), "limit"),
        (("show", "m.db", "--gamma", 2), "gamma"),
        (("show", "m.db", "--episode", 9), "'9'"),
        (("show", "m.db", "--episode", -1), "'-1'"),
        (("show", "m.db", "--episode", "x"), "'x'"),
        (("show", "m.db", "--episode", "1", "--run", "a"), "--episode"),
        (("show", "m.db", "--since", "tomorrow"), "2026-11-24T12:00"),
        (("show", "m.db", "--text", ""), "text"),
        (("neighbours", "m.db"), "--state"),
        (("neighbours", "m.db", "--state", "room"), "NAME=TEXT"),
        (("neighbours", "m.db", "--state", "a=1", "--state", "a=2"), "once"),
        (("neighbours", "m.db", "--state", "a=1", "--of", "1"), "--of"),
        (("neighbours", "m.db", "--of", "9"), "'9'"),
        (("neighbours", "m.db", "--of", "1", "--step", 2), "step"),
        (("neighbours", "m.db", "--of", "1", "--step", -1), "step"),
        (("neighbours", "m.db", "--of", "1", "--limit", 0), "limit"),
        (("neighbours", "m.db", "--of", "1", "--preset", "best"), "best"),
        (("neighbours", "m.db", "--of", "1", "--set", "kk=1"), "kk"),
        (("neighbours", "m.db", "--of", "1", "--set", "k"), "NAME=VALUE"),
        (("neighbours", "m.db", "--of", "1", "--credit", "fame"), "credit"),
        (("diff", "m.db", "a"), "snapshot"),
    ],
)
def test_wrong_input_is_one_line_that_names_it(
    cli: Cli, words: tuple[object, ...], named: str
) -> None:
    assert named in complaint(cli(*words), 2)


@pytest.mark.parametrize("command", ["stats", "show", "snapshots", "verify", "vacuum", "cap"])
def test_a_memory_that_is_not_there_is_not_made(cli: Cli, tmp_path: Path, command: str) -> None:
    assert "no memory at" in complaint(cli(command, "none.db"), 1)
    (tmp_path / "diary").write_text("a diary, and no database at all" * 99)
    assert "is not a memory" in complaint(cli(command, "diary"), 1 if command == "verify" else 2)
    assert not (tmp_path / "none.db").exists()


def test_what_cannot_be_opened_is_a_finding(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("a diary, and no database at all" * 99)
    code, out, err = cli("verify", "diary", "--json")
    (finding,) = json.loads(out)
    assert (code, "is not a memory" in finding["what"], err.count("\n")) == (1, True, 1)
