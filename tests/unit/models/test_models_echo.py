"""What servers answer when they are asked to echo a text with its log-probabilities."""

from __future__ import annotations

from typing import Any

import pytest

from jitrl.errors import BadReply
from jitrl.models.replies import echo


def reply(text: str, tokens: list[str], read: int, written: int) -> dict[str, Any]:
    """Return the body of `/completions`."""
    values = [None, *(-0.5 * place for place in range(1, len(tokens)))]
    logprobs = {"tokens": tokens, "token_logprobs": values}
    usage = {"prompt_tokens": read, "completion_tokens": written}
    return {"choices": [{"text": text, "logprobs": logprobs}], "usage": usage}


@pytest.mark.parametrize(
    ("tokens", "read", "written"),
    [
        (["Action", ":", "A"], 2, 1),  # vLLM
        (["Action", ":", "</s>"], 2, 1),  # vLLM, where the model ended
        (["Action", ":", "A"], 3, 1),  # llama-cpp-python: the first special token is not listed
        (["Action", ":"], 3, 0),  # and the model ended
        (["<s>", "Action", ":"], 3, 0),  # a server that lists it
    ],
)
def test_what_was_written_after_an_echoed_text_is_left_out(
    tokens: list[str], read: int, written: int
) -> None:
    text = "".join(token for token in tokens if token not in ("<s>", "</s>"))
    found = echo(reply(text, tokens, read, written), "x")
    assert found.tokens[-2:] == ("Action", ":")
    assert found.logprobs == (0.0, -0.5, -1.0)[: len(found.tokens)]


@pytest.mark.parametrize(
    ("text", "written"),
    [("Action:A", 1), ("Action:", 0)],  # llama-cpp-python with texts that begin with no such token
)
def test_log_probabilities_that_are_one_token_late_are_refused(text: str, written: int) -> None:
    with pytest.raises(BadReply, match=r"one token late .* use --scores labels"):
        echo(reply(text, ["Action", ":"], 2, written), "x")
