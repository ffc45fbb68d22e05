"""`jitrl run` with every agent that is compared, and with what another run has left."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from arms_kit import evolved, kept, talker
from cli_kit import Cli, command_line
from plugin_kit import PLUGIN

from jitrl.agents import arms
from jitrl.bench.configuration import Configuration
from jitrl.bench.folder import read
from jitrl.testing import Choosing, ScriptedServer, obliging

SHORT = ("--episodes", "3", "--steps", "5")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Call the command line in an empty folder; (exit code, stdout, stderr)."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.chdir(tmp_path)
    return command_line(monkeypatch, capsys)


def playing(agent: str, server: ScriptedServer | None = None) -> list[str]:
    words = ["run", "corridor:3", "--agent", agent, *SHORT]
    if server is not None:
        words += ["--model", "openai/scripted", "--base-url", server.url, "--retries", "0"]
    return words


def test_help_names_every_agent_that_is_installed(cli: Cli) -> None:
    _, out, _ = cli("run", "--help")
    told = " ".join(out.replace("│", " ").split())
    assert ", ".join(arms.names()) in told
    assert {"static", "memory", "reflexion", "awm", "evotest", "jitrl-in-prompt"} < set(
        arms.names()
    )


def test_an_agent_that_is_not_installed_is_refused_with_those_that_are(cli: Cli) -> None:
    code, _, err = cli(*playing("evotset"))
    assert code == 2
    assert "evotest" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("agent", arms.names())
def test_every_agent_runs_on_a_model_that_knows_nothing_and_its_command_repeats_it(
    cli: Cli, tmp_path: Path, agent: str
) -> None:
    with ScriptedServer(Choosing(obliging)) as server:
        code, out, err = cli(*playing(agent, server), "--out", "first")
        assert (code, err) == (0, "")
        assert "expected: " in out
        command = read(tmp_path / "first").manifest.command
        code, _, err = cli(*command[1:-1], "again")
        assert (code, err) == (0, "")
    assert kept(tmp_path / "first") == kept(tmp_path / "again")


@pytest.mark.parametrize("agent", ["jitrl", "memory", "evotest"])
def test_a_run_begins_with_another_and_its_command_repeats_it(
    cli: Cli, tmp_path: Path, agent: str
) -> None:
    with ScriptedServer(Choosing(talker)) as server:
        assert cli(*playing(agent, server), "--out", "first")[0] == 0
        words = ["--start-from", "first", "--frozen", "--out", "second"]
        assert cli(*playing(agent, server), *words)[0] == 0
        second = read(tmp_path / "second")
        command = second.manifest.command
        assert shlex.join(command).count("--start-from first --frozen") == 1
        assert cli(*command[1:-1], "again")[0] == 0
    assert second.manifest.begins == read(tmp_path / "first").manifest.run
    assert second.configuration.frozen
    assert kept(tmp_path / "second") == kept(tmp_path / "again")


def test_a_command_has_the_options_of_the_command_line() -> None:
    wanted = Configuration("corridor:3", start="runs/a", frozen=True)
    words = wanted.command(Path("b"))
    assert words[words.index("--start-from") + 1] == "runs/a"
    assert "--start" not in words
    assert words.count("--frozen") == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--start-from", "nowhere"), "no run folder"),
        (("--frozen",), "needs a start, or a memory"),
    ],
)
def test_what_a_run_cannot_begin_with_is_one_line(
    cli: Cli, words: tuple[str, ...], named: str
) -> None:
    code, _, err = cli(*playing("jitrl"), *words)
    assert code in (1, 2)
    assert named in err
    assert err.count("\n") == 1
    assert not Path("runs").exists()


def test_what_could_not_be_learned_is_told_when_the_run_ends(cli: Cli, tmp_path: Path) -> None:
    def says(messages):
        if "Write the new configuration" in messages[-1].content:
            return {evolved("Go on.", 9.0): 1.0}
        return talker(messages)

    with ScriptedServer(Choosing(says)) as server:
        code, _, err = cli(*playing("evotest", server), "--out", "run")
    assert code == 0
    assert "jitrl: nothing was learned from 3 episodes: 0, 1, 2; the model failed" in err
    lines = (tmp_path / "run" / "carried.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["note"] for line in lines] == [None] * 3
