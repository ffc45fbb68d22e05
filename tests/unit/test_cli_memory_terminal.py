"""`jitrl memory` in processes of its own, on a terminal: questions, progress, Ctrl-C."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory_cli_kit import episode, fill, present, step, terminal

from jitrl.memory import SqliteMemory
from jitrl.memory.packs import pack

EVERY = ["a-0", "a-1", "b-0", "c-0"]


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, EVERY[2:]), ("n\n", 1, EVERY), ("\n", 1, EVERY)]
)
def test_somebody_at_a_terminal_is_asked(
    tmp_path: Path, answer: str, code: int, left: list[str]
) -> None:
    fill(tmp_path / "m.db")
    with terminal(tmp_path, "forget", "m.db", "--run", "a") as screen:
        screen.until("delete 2 episodes for good? [y/N]")
        screen.type(answer)
        ended, seen = screen.end()
    assert (ended, "nothing was changed" in seen) == (code, code == 1)
    assert present(tmp_path / "m.db") == left


def test_ctrl_c_at_a_question_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "m.db")
    with terminal(tmp_path, "forget", "m.db", "--run", "a") as screen:
        screen.until("[y/N]")
        screen.interrupt()
        code, seen = screen.end()
    assert code == 130
    assert "jitrl: interrupted: nothing was changed" in seen
    assert present(tmp_path / "m.db") == EVERY


def test_an_import_shows_progress_is_interrupted_and_completed(tmp_path: Path) -> None:
    count = 2000
    ids = [f"e-{i}" for i in range(count)]
    source = SqliteMemory(tmp_path / "m.db")
    for id in ids[:-1]:
        source.append(episode(id, "r", step(0, "hall")))
    source.append(episode(ids[-1], "r"))
    pack.export(source, tmp_path / "p.zip")
    source.close()
    with terminal(tmp_path, "import", "n.db", "p.zip") as screen:
        screen.until("stored")
        screen.interrupt()
        code, seen = screen.end()
    assert code == 130, seen
    assert "jitrl: interrupted: each episode is stored whole or not at all" in seen
    assert "jitrl memory import n.db p.zip" in seen
    assert "Traceback" not in seen
    kept = present(tmp_path / "n.db")
    assert kept == ids[: len(kept)]
    assert len(kept) < count
    with terminal(tmp_path, "import", "n.db", "p.zip") as screen:
        code, seen = screen.end()
    assert (code, f"{count - len(kept):,} episodes stored" in seen) == (0, True)
    assert present(tmp_path / "n.db") == ids


@pytest.mark.parametrize(
    "words",
    [
        ("stats", "m.db"),
        ("show", "m.db"),
        ("show", "m.db", "--episode", "1"),
        ("neighbours", "m.db", "--of", "1"),
        ("verify", "m.db"),
        ("vacuum", "m.db"),
        ("export", "m.db", "p.zip"),
    ],
)
def test_on_a_terminal_progress_leaves_the_answer(tmp_path: Path, words: tuple[str, ...]) -> None:
    fill(tmp_path / "m.db")
    with terminal(tmp_path, *words) as screen:
        code, seen = screen.end()
    assert code == 0
    assert "Traceback" not in seen
    assert seen.rstrip()
