"""`jitrl run --model` and `jitrl judge` in fair weather and foul: every failure is one line."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cli_kit
import pytest
from cli_kit import Cli, Outcome, command_line
from language_kit import breaking, serving
from plugin_kit import PLUGIN
from process_kit import Process

from jitrl.bench.folder import read
from jitrl.testing import ABLE, Fault, ScriptedServer

KEY = "sk-do-not-tell-0123456789"


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Call the command line in an empty folder; (exit code, stdout, stderr)."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.chdir(tmp_path)
    for variable in ("OPENAI_API_KEY", "JITRL_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    return command_line(monkeypatch, capsys)


def playing(server: ScriptedServer | None, *words: str, model: str = "scripted") -> list[str]:
    """Return the words of a short run; options given again hold."""
    at = [] if server is None else ["--base-url", server.url]
    return [
        *("run", "corridor:3", "--episodes", "3", "--steps", "5", "--out", "run"),
        *("--model", f"openai/{model}", "--scores", "labels-direct", "--retries", "0", *at, *words),
    ]


def complaint(outcome: Outcome, code: int) -> str:
    """Return the one line of a failure, checked to be one line, ours, and without a key."""
    assert "do-not-tell" not in outcome[1] + outcome[2]
    return cli_kit.complaint(outcome, code)


def finished() -> int:
    return len(read(Path("run")).episodes)


def judged_at(server: ScriptedServer) -> list[str]:
    return ["--judge-model", "openai/scripted", "--judge-url", server.url]


def test_a_run_shows_what_it_will_cost_at_most_and_what_it_used(cli: Cli) -> None:
    with serving() as server:
        code, out, err = cli(*playing(server))
        calls = len(server.requests)
    assert (code, err) == (0, "")
    first = out.splitlines()[1]
    assert first.startswith("expected: about 15 calls, ")
    assert "price of openai/scripted unknown (--prices FILE)" in first
    assert out.index("expected:") < out.index("finished 1/3")
    row = next(line.split() for line in out.splitlines() if line.startswith("act "))
    assert row[:2] == ["act", str(calls)] and calls <= 15
    assert finished() == 3


def test_every_choice_is_in_the_command_of_the_run_and_that_command_plays_it(cli: Cli) -> None:
    with serving() as server:
        more = ("--summarise", "--window", "4", "--credit", "mixed", "--tell-outcome")
        assert cli(*playing(server, *judged_at(server), *more))[0] == 0
        kept = read(Path("run"))
        code, _, err = cli(*kept.manifest.command[1:], "--resume")
    assert (code, err) == (0, "")
    assert kept.configuration.window == 4
    assert kept.configuration.credit == "mixed"


def test_a_dollar_budget_works_with_the_prices_of_a_file(cli: Cli) -> None:
    Path("prices.toml").write_text('["openai/scripted"]\ninput = 400.0\noutput = 400.0\n')
    words = ("--prices", "prices.toml", "--budget")
    with serving() as server:
        said = complaint(cli(*playing(server, *words, "0.5")), 1)
        assert "budget spent: $0." in said
        assert "--resume and a larger --budget" in said
        kept = finished()
        assert 1 <= kept <= 3 and read(Path("run")).episodes[-1].stopped
        code, out, err = cli(*playing(server, *words, "50", "--episodes", "5"), "--resume")
    assert (code, err) == (0, "")
    assert "(prices: " in out.splitlines()[1]
    assert finished() == 5


def test_a_budget_of_tokens_stops_with_one_line_and_goes_on(cli: Cli) -> None:
    with serving() as server:
        said = complaint(cli(*playing(server, "--budget-tokens", "600")), 1)
        assert "of 600 tokens: go on with --resume and a larger --budget-tokens" in said
        stopped = read(Path("run")).episodes
        assert stopped[-1].stopped and stopped[-1].steps
        complaint(cli(*playing(server, "--budget-tokens", "600", "--resume")), 1)
        assert cli(*playing(server, "--budget-tokens", "60000", "--resume"))[0] == 0
    assert finished() == 3


WRONG = [
    (["--scores", "guesses"], "guesses"),
    (["--budget", "1"], "needs the price of openai/scripted, which is unknown: give it with"),
    (["--budget", "-1"], "--budget"),
    (["--budget-tokens", "0"], "--budget-tokens"),
    (["--scores", "decoding"], "needs a local model"),
    (["--scores", "prior"], "scores"),
    (["--credit", "judged"], "judge"),
    (["--tell-outcome"], "judge"),
    (["--judge-url", "http://127.0.0.1:1/v1"], "judge"),
    (["--judge-model", "openai/scripted", "--credit", "reward"], "credit"),
    (["--judge-model", "elsewhere/scripted"], "elsewhere/scripted"),
    (["--timeout", "0"], "--timeout"),
    (["--retries", "-1"], "--retries"),
    (["--base-url", "localhost"], "base_url"),
    (["--base-url", f"https://me:{KEY}@example.org/v1"], "JITRL_API_KEY"),
    (["--model", "nobody/x"], "nobody/x"),
    (["--model", "openai"], "openai/NAME"),
    (["--record", "a", "--replay", "b"], "replay"),
    (["--replay", "nowhere.rec"], "nowhere.rec"),
    (["--prices", "nowhere.toml"], "nowhere.toml"),
]


@pytest.mark.parametrize(
    ("words", "named"), WRONG, ids=[" ".join(words)[:40] for words, _ in WRONG]
)
def test_wrong_choices_are_one_line_and_nothing_is_written(
    cli: Cli, words: list[str], named: str
) -> None:
    with serving() as server:
        assert named in complaint(cli(*playing(server, *words)), 2)
        assert not server.requests
    assert not Path("run").exists()


@pytest.mark.parametrize(
    "words", [["--scores", "labels"], ["--base-url", "http://127.0.0.1:1/v1"], ["--summarise"]]
)
def test_options_of_models_need_a_model(cli: Cli, words: list[str]) -> None:
    assert "--model" in complaint(cli("run", "corridor:3", "--out", "run", *words), 2)
    assert not Path("run").exists()


def test_a_missing_key_is_told_before_anything_is_written(cli: Cli) -> None:
    said = complaint(cli(*playing(None)), 2)
    assert "OPENAI_API_KEY must be set in the environment for openai/scripted" in said
    assert not Path("run").exists()
    with serving() as server:
        assert cli(*playing(server))[0] == 0


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_a_wrong_key_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JITRL_API_KEY", KEY)
    with serving(key="another") as server:
        said = complaint(cli(*playing(server)), 1)
        assert "(401)" in said and "check the key in JITRL_API_KEY" in said
        assert finished() == 0
        server.key = KEY
        assert cli(*playing(server, "--resume"))[0] == 0
    assert finished() == 3


def test_an_unknown_model_is_one_line(cli: Cli) -> None:
    with serving() as server:
        said = complaint(cli(*playing(server, model="unheard-of")), 1)
    assert "(404)" in said and "check the model's name and the base URL" in said


def test_an_unreachable_server_is_one_line(cli: Cli) -> None:
    address = f"http://127.0.0.1:{closed_port()}/v1"
    said = complaint(cli(*playing(None, "--base-url", address)), 1)
    assert address in said and "check that it runs, and its address" in said


FAULTS = [
    (Fault("hang"), ["--timeout", "0.5"], "no answer within 0.5 s: raise the time-out"),
    (Fault("status", 400), [], "shorten the prompt, or use a model with a longer context"),
    (Fault("status", 401), [], "check the key in"),
    (Fault("status", 404), [], "check the model's name"),
    (Fault("status", 429), [], "overloaded"),
    (Fault("status", 500), [], "try again later"),
    (Fault("drop"), [], "check that it runs"),
    (Fault("drop_midway"), [], "check that it runs"),
    (Fault("half_body"), [], "no JSON object"),
    (Fault("refusal"), [], "refuses to answer: use another model, or another prompt"),
    (Fault("no_logprobs"), [], "--scores"),
]


@pytest.mark.parametrize(
    ("fault", "words", "said"), FAULTS, ids=[f"{f.kind}{f.status}" for f, _, _ in FAULTS]
)
def test_bad_weather_is_one_line_and_finished_episodes_are_kept(
    cli: Cli, fault: Fault, words: list[str], said: str
) -> None:
    with serving() as server:
        server.faults.append(fault)
        assert said in complaint(cli(*playing(server, *words)), 1)
        assert finished() == 0
    with breaking(7, fault) as server:
        assert said in complaint(cli(*playing(server, *words, "--resume")), 1)
        assert finished() >= 1
        kept = Path("run", "episodes.jsonl").read_bytes()
        code, _, err = cli(*playing(server, *words, "--resume"))
    assert (code, err) == (0, "")
    assert Path("run", "episodes.jsonl").read_bytes().startswith(kept)
    assert finished() == 3


def test_a_model_that_gives_no_log_probabilities_is_told_which_scores_do_without(cli: Cli) -> None:
    lacking = replace(ABLE, logprobs=False, sequence=False)
    with serving(capabilities=lacking) as server:
        for scores in ("labels", "labels-direct", "sequence"):
            words = playing(server, "--scores", scores, "--out", scores)
            assert "--scores" in complaint(cli(*words), 1)
        for scores in ("stated", "sampled"):
            assert cli(*playing(server, "--scores", scores, "--out", scores))[0] == 0


def test_a_prompt_beyond_the_context_is_one_line(cli: Cli) -> None:
    with serving(context=10) as server:
        assert "shorten the prompt" in complaint(cli(*playing(server)), 1)


def test_a_recording_that_does_not_match_is_one_line_and_keeps_what_was_played(cli: Cli) -> None:
    with serving() as server:
        assert cli(*playing(server, "--record", "calls.rec"))[0] == 0
    replay = ("--replay", "calls.rec", "--out", "again")
    code, _, err = cli(*playing(None, *replay))
    assert (code, err) == (0, "")
    assert Path("again/steps.jsonl").read_bytes() == Path("run/steps.jsonl").read_bytes()
    said = complaint(cli(*playing(None, *replay, "--episodes", "4", "--resume")), 1)
    assert "calls.rec' does not hold this request (complete for act, episode 3, step 0)" in said
    assert "record anew" in said
    assert len(read(Path("again")).episodes) == 3
    other = ("--replay", "calls.rec", "--out", "other")
    assert "another messages" in complaint(cli(*playing(None, *other, "--window", "1")), 1)
    assert "openai/else" in complaint(cli(*playing(None, *other, "--resume", model="else")), 2)
    Path("calls.rec").write_bytes(Path("calls.rec").read_bytes().replace(b"go east", b"go west"))
    assert "restore it" in complaint(cli(*playing(None, *replay[:2], "--out", "x")), 2)


@pytest.mark.parametrize("kind", ["refusal", "status", "half_answer"])
def test_a_judge_that_fails_is_named_and_can_be_run_again(cli: Cli, kind: str) -> None:
    with serving() as player, serving() as judge:
        judge.faults.extend([Fault(kind, 500)] * 40)  # type: ignore[arg-type]
        code, out, err = cli(*playing(player, *judged_at(judge)))
        lines = err.splitlines()
        assert code == 1 and finished() == 3
        assert all(line.startswith("jitrl: ") for line in lines)
        assert lines[-1] == (
            "jitrl: episodes stored as unscored: 3; score them with: jitrl judge run"
        )
        assert sum("the judge failed" in line for line in lines) == 3
        assert "wrote" in out  # the report is there all the same
        if kind == "status":
            complaint(cli("judge", "run", "--retries", "0"), 1)
        judge.faults.clear()
        code, out, err = cli("judge", "run")
        assert (code, err) == (0, "")
        assert "of 3 episodes scored, 0 still without a score" in out
        asked = len(judge.requests)
        code, out, err = cli("judge", "run")
        assert (code, err) == (0, "")
        assert out.startswith("0 steps of 0 episodes scored")
        assert cli(*playing(player, *judged_at(judge), "--resume"))[0] == 0
        assert len(judge.requests) == asked
    lines = Path("run", "judged.jsonl").read_text().splitlines()
    assert all(None not in json.loads(line)["scores"] for line in lines[-3:])


def test_a_judge_that_is_elsewhere_by_now_can_be_asked_there(cli: Cli) -> None:
    with serving() as player, serving() as judge:
        judge.faults.extend([Fault("refusal")] * 40)
        assert cli(*playing(player, *judged_at(judge)))[0] == 1
    assert "check that it runs" in complaint(cli("judge", "run", "--retries", "0"), 1)
    with serving() as moved:
        code, out, err = cli("judge", "run", "--judge-url", moved.url)
    assert (code, err) == (0, "")
    assert "0 still without a score" in out


def test_judging_is_refused_where_there_is_nothing_to_judge_by(cli: Cli) -> None:
    with serving() as server:
        cli(*playing(server))
    assert "run it with --judge-model" in complaint(cli("judge", "run"), 2)
    assert "no run folder" in complaint(cli("judge", "nowhere"), 2)


def test_ctrl_c_while_the_server_hangs_ends_the_run_at_once(tmp_path: Path) -> None:
    with breaking(7, Fault("hang")) as server:
        limits = ("--timeout", "600", "--budget-tokens", "99999", "--record", str(tmp_path / "rec"))
        words = playing(server, *limits)
        words[words.index("run", 1)] = str(tmp_path / "run")
        paths = [str(PLUGIN), os.environ.get("PYTHONPATH", "")]
        with Process(
            [sys.executable, "-m", "jitrl.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)},
        ) as process:
            assert server.wait(lambda server: len(server.requests) == 8, 60)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert server.wait(lambda server: server.abandoned == 1)
    assert process.returncode == 130
    assert err.startswith("jitrl: interrupted: 1 finished episode kept; continue with:")
    assert err.count("\n") == 1
    for given in (" --budget-tokens 99999 --record ", " --timeout 600.0 --retries 0 --resume"):
        assert given in err  # to go on is to go on within the budget


def test_a_judges_scores_are_told_as_the_judges_where_there_is_no_verdict(cli: Cli) -> None:
    words = ("run", "locks:1", "--option", "silent=true", "--out", "run")
    with serving() as judge:
        code, out, err = cli(*words, *judged_at(judge))
    assert (code, err) == (0, "")
    assert "over, without a verdict" in out
    assert re.search(r"^Avg +- *$", out, re.M)
    assert re.search(r"^judge per step +-1.00 *$", out, re.M)
    assert "scores of its steps are no verdict. Judge per step:" in " ".join(out.split())
    out = cli("explain", "run", "--episode", 0, "--step", 0)[1]
    assert "there is no verdict on it" in out
    assert "the judge openai/scripted gave it -1" in out


def test_an_estimate_of_a_run_that_cannot_begin_says_why_there_is_none(cli: Cli) -> None:
    Path("down.txt").write_text("locks:0")
    with serving() as server:
        at = ("--model", "openai/scripted", "--base-url", server.url)
        code, out, err = cli("run", "locks:1", "--option", "down=down.txt", *at, "--out", "run")
        assert not server.requests
    assert (code, "--resume tries again" in err) == (1, True)
    said = "expected: nobody knows, for the first attempt could not begin: no way to locks:0"
    assert said in out.splitlines()


def test_a_judge_of_the_same_back_end_is_asked_where_the_model_is(cli: Cli) -> None:
    with serving() as server:
        url = server.url
        code, _, err = cli(*playing(server, "--judge-model", "openai/scripted"))
    assert (code, err) == (0, "")
    assert read(Path("run")).configuration.judge_url == url
    code, out, _ = cli("explain", "run", "--episode", "1", "--step", "0")
    assert code == 0
    assert "openai/scripted by labels" in out.splitlines()[0]
    assert "the judge openai/scripted gave it " in out
    assert "; returns are of: judged" in out


@pytest.mark.parametrize(
    "option", [("--budget-tokens", "9"), ("--record", "r"), ("--retries", "1")]
)
def test_what_is_for_models_alone_is_refused_without_one(cli: Cli, option: tuple[str, str]) -> None:
    assert "model must be named" in complaint(cli("run", "corridor:5", *option), 2)
    assert not Path("runs").exists()
