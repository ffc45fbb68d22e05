"""`jitrl models probe`, against a server on this machine."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from cli_kit import Cli, command_line, complaint

from jitrl.testing import ABLE, Choosing, Fixed, ScriptedServer


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call the command line; (exit code, stdout, stderr)."""
    for variable in ("OPENAI_API_KEY", "JITRL_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    return command_line(monkeypatch, capsys)


def answers(out: str) -> dict[str, str]:
    """Return capability or score source -> answer, as printed."""
    found = {}
    for line in out.splitlines():
        for word in ("yes", "no", "unknown"):
            name, here, _ = line.partition(f" {word} ")
            if here:
                found[name.strip()] = word
                break
    return found


def obliging(messages: object) -> dict[str, float]:
    return {"yes": 0.75, '{"word": "yes"}': 0.25}


@pytest.mark.parametrize("name", ["scripted", "vllm/scripted"])
def test_a_server_that_can_do_everything(cli: Cli, name: str) -> None:
    with ScriptedServer(Choosing(obliging), seed=1) as server:
        code, out, err = cli("models", "probe", server.url, name)
    assert (code, err) == (0, "")
    assert "Usage" not in out
    told = answers(out)
    for capability in (
        "log-probabilities",
        "logit bias",
        "JSON schema",
        "labels-server",
        "sequence",
    ):
        assert told[capability] == "yes", capability
    assert "before the bias" in out
    assert out.endswith("recommended: --scores labels\n")


@pytest.mark.parametrize(
    ("lacks", "best"),
    [
        ({"logprobs": False, "sequence": False}, "stated"),
        ({"top_logprobs": 1}, "sequence"),
        ({"bias_shown": "after"}, "labels"),
    ],
)
def test_the_best_source_of_scores_is_recommended(
    cli: Cli, lacks: dict[str, object], best: str
) -> None:
    capabilities = replace(ABLE, **lacks)  # type: ignore[arg-type]
    with ScriptedServer(Choosing(obliging), capabilities=capabilities, seed=1) as server:
        code, out, _ = cli("models", "probe", server.url, "scripted")
    assert code == 0
    assert out.endswith(f"recommended: --scores {best}\n")
    assert answers(out)["labels, labels-direct"] == ("yes" if best == "labels" else "no")
    assert ("exact: every label is reported" in out) == (lacks.get("bias_shown") == "after")


def test_what_is_wrong_is_one_line(cli: Cli) -> None:
    assert "OPENAI_API_KEY" in complaint(cli("models", "probe", "-", "gpt-x"), 2)
    assert "base_url" in complaint(cli("models", "probe", "localhost", "x"), 2)
    with ScriptedServer(Fixed(["yes"]), key="secret") as server:
        assert "JITRL_API_KEY" in complaint(cli("models", "probe", server.url, "scripted"), 1)
        assert len(server.requests) == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    words = ("models", "probe", f"http://127.0.0.1:{port}/v1", "x", "--retries", "0")
    assert "check that it runs" in complaint(cli(*words), 1)


def test_there_is_help(cli: Cli) -> None:
    for words in (("models",), ("models", "probe")):
        code, out, _ = cli(*words, "--help")
        assert code == 0 and "probe" in out
