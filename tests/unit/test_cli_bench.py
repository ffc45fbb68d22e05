"""`jitrl bench`: what it says, its exit codes, and what a study that is started again plays."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from arms_kit import talking
from cli_kit import Cli, Outcome, command_line
from plugin_kit import plugin
from study_kit import results

from jitrl.bench.folder import read

__all__ = ["plugin"]
ARMS = '[[arm]]\nagent = "static"\n[[arm]]\nagent = "jitrl"\n'
SMALL = 'episodes = 2\nsteps = 4\nseeds = 2\n[[world]]\nname = "corridor:9"\n' + ARMS


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Call `jitrl bench` on a plan in an empty folder; (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    called = command_line(monkeypatch, capsys, "bench", "small.toml")

    def call(plan: str, *words: object) -> Outcome:
        Path("small.toml").write_text(plan)
        return called(*words)

    return call


def asking(url: str, plan: str = SMALL) -> str:
    return f'model = "openai/scripted"\nbase_url = "{url}"\nscores = "stated"\n{plan}'


def prices() -> str:
    """Write a file of prices in the present folder; return its name."""
    Path("prices.toml").write_text('["openai/scripted"]\ninput = 400.0\noutput = 400.0\n')
    return "prices.toml"


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_study_is_played_with_a_line_for_each_run_and_never_again(cli: Cli) -> None:
    code, out, err = cli(SMALL, "--workers", "1")
    assert (code, err) == (0, "")
    out_folder = Path("studies/small").absolute()
    first, *lines, last = out.splitlines()
    assert first == f"small: 1 world, 2 arms, 2 seeds, 4 runs: into {out_folder}"
    runs = [f"{arm}, seed {seed}" for arm in ("static", "jitrl") for seed in (0, 1)]
    for number, (run, line) in enumerate(zip(runs, lines, strict=True), 1):
        told = re.escape(f"{number}/4   corridor:9, {run}: 2 episodes, mean ")
        assert re.fullmatch(told + r"\d\.\d\d   ETA \d+ s", line), line
    assert lines[-1].endswith("ETA 0 s")
    assert last.startswith("played in ")
    assert "\x1b" not in out
    held = files(out_folder)
    code, out, err = cli(SMALL)
    assert (code, err) == (0, "")
    assert out.splitlines()[1:-1] == ["4 runs finished before"]
    assert files(out_folder) == held


def test_a_plan_that_grew_plays_what_is_new(cli: Cli) -> None:
    assert cli(SMALL, "--out", "grown")[0] == 0
    wanted = SMALL.replace("seeds = 2", "seeds = 3") + '[[arm]]\nagent = "null"\n'
    code, out, _ = cli(wanted, "--out", "grown")
    assert code == 0
    assert "4 runs finished before" in out
    played = {line.split("   ")[1].split(": 2")[0] for line in out.splitlines()[2:-1]}
    assert played == {
        *(f"corridor:9, {arm}, seed 2" for arm in ("static", "jitrl")),
        *(f"corridor:9, null, seed {seed}" for seed in range(3)),
    }
    assert cli(wanted, "--out", "whole")[0] == 0
    assert results(Path("grown")) == results(Path("whole"))


def test_another_plan_is_refused_in_one_line_and_nothing_is_lost(cli: Cli) -> None:
    cli(SMALL)
    held = files(Path("studies"))
    code, out, err = cli(SMALL.replace("steps = 4", "steps = 5"))
    assert code == 2
    assert "holds another study: 'runs/corridor-9/static-0' has steps 4, not 5" in err
    assert err.count("\n") == 1
    assert files(Path("studies")) == held
    code, out, _ = cli(SMALL)
    assert (code, "4 runs finished before" in out) == (0, True)


def test_a_run_that_fails_stops_no_other_and_is_named_with_those_that_wait_for_it(
    cli: Cli,
) -> None:
    worlds = '[[world]]\nname = "corridor:x"\nlabel = "first"\n[[world]]\nname = "corridor:9"\n'
    plan = "episodes = 2\nsteps = 4\n" + worlds + 'start = "first"\n' + ARMS
    code, out, err = cli(plan, "--workers", "1")
    why = "corridor 'x' has no length: write corridor:5"
    assert code == 1
    assert err.splitlines() == [
        f"jitrl: runs/first/static-0: {why}",
        f"jitrl: runs/first/jitrl-0: {why}",
        "jitrl: runs/corridor-9/jitrl-0: it begins with 'runs/first/jitrl-0', which failed",
    ]
    assert f"1/4   first, static, seed 0: failed: {why}   ETA ?" in out
    assert "4/4   corridor:9, static, seed 0: 2 episodes" in out
    assert out.splitlines()[-2].endswith("   ETA 0 s")
    assert len(read(Path("studies/small/runs/corridor-9/static-0")).episodes) == 2


def test_a_damaged_run_stops_no_other(cli: Cli) -> None:
    cli(SMALL)
    damaged = Path("studies/small/runs/corridor-9/static-0")
    (damaged / "run.json").write_text("{")
    code, out, err = cli(SMALL.replace("seeds = 2", "seeds = 3"))
    assert code == 1
    assert err.startswith("jitrl: runs/corridor-9/static-0: ")
    assert "is damaged" in err
    assert err.count("\n") == 1
    assert "3 runs finished before" in out
    assert "6/6" in out


def test_a_budget_ends_a_study_says_what_is_missing_and_a_larger_one_goes_on(cli: Cli) -> None:
    with talking() as server:
        plan = asking(server.url)
        assert cli(plan, "--out", "whole")[0] == 0
        few = ("--out", "out", "--workers", "1", "--prices", prices(), "--budget")
        code, out, err = cli(plan, *few, "0.01")
        assert code == 1
        told = (
            r"jitrl: budget spent: \$\d+\.\d+ of \$0\.0100, and [34] of 4 runs are not finished: "
        )
        assert re.fullmatch(told + "start again with a larger one to go on\n", err), err
        before = len(server.requests)
        code, out, err = cli(plan, "--out", "out", "--budget-tokens", "1")
        assert (code, before) == (1, len(server.requests))
        assert re.search("of 1 tokens, and [34] of 4 runs are not finished", err)
        code, out, err = cli(plan, *few, "1000")
        assert (code, err) == (0, "")
        # where a call was cut short, nobody knows what it cost
        assert re.search(
            r"   (unknown|\$\d+\.\d+) of at most \$\d+\.\d\d spent$", out.splitlines()[-2]
        )
    assert results(Path("out")) == results(Path("whole"))


def test_what_can_be_known_beforehand_is_refused_before_anything_is_written(cli: Cli) -> None:
    plan = asking("http://127.0.0.1:9/v1")
    refused = [
        (("--budget", "1"), "needs the price of openai/scripted"),
        (("--budget", "0"), "--budget must be more than 0 dollars"),
        (("--record", "--replay", "there"), "has no meaning with a replay"),
        (("--workers", "0"), "--workers must be"),
        (("--latency", "-1"), "--latency must be seconds, at least 0"),
    ]
    for words, told in refused:
        code, _, err = cli(plan, *words)
        assert (code, err.count("\n")) == (2, 1), (words, err)
        assert told in err
    assert not Path("studies").exists()


def row(out: str, *begins: str) -> list[str]:
    """Return the rest of a row of a table."""
    found = [line.split() for line in out.splitlines()]
    (only,) = [words[len(begins) :] for words in found if words[: len(begins)] == list(begins)]
    return only


def test_a_dry_run_tells_calls_tokens_dollars_and_hours_and_asks_nobody(cli: Cli) -> None:
    with talking() as server:
        words = ("--dry-run", "--latency", "3600", "--workers", "3", "--prices", prices())
        code, out, err = cli(asking(server.url), *words)
        assert (code, err, server.requests) == (0, "", [])
        assert not Path("studies").exists()
        for arm in ("static", "jitrl"):
            runs, episodes, steps, calls, _, _, hours = row(out, "corridor:9", arm)
            assert (runs, episodes, steps, calls, hours) == ("2", "4", "16", "16", "16.00")
        *numbers, tokens, dollars, hours = row(out, "all")
        assert (*numbers, hours) == ("4", "8", "32", "32", "32.00")
        assert "3 at once: 16.00 hours" in out  # four runs of eight hours: the last one alone
        assert cli(asking(server.url), "--prices", "prices.toml")[0] == 0
    calls = [path.read_text() for path in Path().rglob("calls.jsonl")]
    paid = [json.loads(line) for text in calls for line in text.splitlines()]
    assert len(paid) == 32
    assert sum(one["input"] + one["output"] for one in paid) <= int(tokens.replace(",", ""))
    assert sum(one["dollars"] for one in paid) <= float(dollars.replace(",", ""))


def test_a_dry_run_of_a_world_that_cannot_be_opened_says_so(cli: Cli) -> None:
    code, out, err = cli(SMALL + '[[world]]\nname = "corridor:x"\n', "--dry-run")
    assert code == 1
    assert row(out, "corridor:9", "static")[:3] == ["2", "4", "16"]
    assert row(out, "corridor:x", "static") == ["2", *"??????"]
    assert row(out, "all") == ["8", *"??????"]
    assert "at once" not in out
    assert err == "jitrl: corridor:x: corridor 'x' has no length: write corridor:5\n"


def test_a_recorded_study_is_replayed_to_the_byte_with_the_network_gone(cli: Cli) -> None:
    arms = ARMS + '[[arm]]\nagent = "reflexion"\n[[arm]]\nagent = "evotest"\n'
    with talking() as server:
        plan = asking(server.url, SMALL.replace(ARMS, arms))
        assert cli(plan, "--out", "one", "--record", "--prices", prices())[0] == 0
    code, _, err = cli(plan, "--out", "two", "--replay", "one", "--prices", "prices.toml")
    assert (code, err) == (0, "")
    assert results(Path("one"), paid=True) == results(Path("two"), paid=True)
    (Path("one/runs/corridor-9/jitrl-1/recording")).unlink()
    code, _, err = cli(plan, "--out", "three", "--replay", "one")
    assert code == 1
    assert err.startswith("jitrl: runs/corridor-9/jitrl-1: ")
    assert err.count("\n") == 1


def test_an_interrupted_recording_goes_on_with_the_command_that_is_told(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    with talking() as server:
        plan = asking(server.url)
        with monkeypatch.context() as patch:
            patch.setattr("jitrl.cli.bench_display._Lines.played", ctrl_c)
            words = ("--record", "--workers", "1", "--budget-tokens", 10**9, "--retries", "0")
            code, _, err = cli(plan, "--out", "one", *words, "--prices", prices())
        assert code == 130
        command = shlex.split(err.partition("continue with: ")[2])
        assert command[:3] == ["jitrl", "bench", "small.toml"]
        assert cli(plan, *command[3:])[0] == 0
    assert cli(plan, "--out", "two", "--replay", "one", "--prices", "prices.toml")[0] == 0
    assert results(Path("one")) == results(Path("two"))
