"""`jitrl models probe`: what a model can do, and where its scores can come from."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from jitrl.cli.screen import clean, console, table
from jitrl.models import Capabilities, Model, make, names
from jitrl.models.probe import probe as find_out

_WORDS = {True: "yes", False: "no", None: "unknown"}


def probe(
    url: Annotated[str, typer.Argument(help="Base URL of the server; - for the back end's own.")],
    model: Annotated[str, typer.Argument(help="NAME, or BACKEND/NAME, such as vllm/my-model.")],
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds to wait for one answer.", show_default="the back end's own"),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(help="Attempts after a failed one.", show_default="the back end's own"),
    ] = None,
) -> None:
    """Find out what a model can do, with about a dozen short calls."""
    name = model if model.partition("/")[0] in names() else f"openai/{model}"
    given = {"base_url": None if url == "-" else url, "timeout": timeout, "retries": retries}
    options = {option: value for option, value in given.items() if value is not None}
    found = asyncio.run(_ask(make(name, **options)))
    local = name.startswith("transformers/")
    screen = console()
    screen.print(clean(f"{name} at {'its own address' if url == '-' else url}"))
    screen.print(table(("capability", "answer", "what it means"), _rows(found)))
    screen.print()
    screen.print(table(("--scores", "possible", "guarantee"), _sources(found, local)))
    screen.print()
    screen.print(f"recommended: --scores {_best(found)}")


async def _ask(model: Model) -> Capabilities:
    try:
        return await find_out(model)
    finally:
        await model.close()


def _rows(found: Capabilities) -> list[tuple[str, str, str]]:
    count = found.top_logprobs
    shown = found.bias_shown
    return [
        ("log-probabilities", _WORDS[found.logprobs], "labels can be read"),
        ("alternatives at a token", "none" if count is None else str(count), _listed(count)),
        ("logit bias", _WORDS[found.logit_bias], "the server can draw from the updated policy"),
        ("values shown", f"{shown} the bias" if shown else "unknown", _biased(found)),
        ("JSON schema", _WORDS[found.schema], "replies that can always be parsed"),
        ("several completions", _WORDS[found.several], "samples in one call"),
        ("scores given texts", _WORDS[found.sequence], "sequence: exact for whole actions"),
        ("tells tokens", _WORDS[found.tokenize], "labels can be biased"),
    ]


def _listed(count: int | None) -> str:
    return "labels beyond it are not seen" if count else "labels cannot be read"


def _biased(found: Capabilities) -> str:
    if found.bias_shown == "after":
        return "an equal bias brings every label into the list"
    return "only labels that are in the list anyway can be read"


def _sources(found: Capabilities, local: bool) -> list[tuple[str, str, str]]:
    listed = bool(found.logprobs and (found.top_logprobs or 0) > 1)
    biased = listed and bool(found.logit_bias and found.tokenize)
    few = f"exact, or bounded: labels among the {found.top_logprobs} most probable tokens"
    needs = "needs log-probabilities of two tokens or more"
    every = "exact: every label is reported" if found.bias_shown == "after" else few
    on_server = "exact; the server draws" if found.bias_shown else "needs to know the values shown"
    return [
        ("labels, labels-direct", _WORDS[listed], few if listed else needs),
        ("labels-biased", _WORDS[biased], every if biased else "needs logit bias and tokens"),
        (
            "labels-server",
            _WORDS[biased and found.bias_shown is not None],
            on_server if biased else "needs logit bias and tokens",
        ),
        (
            "sequence",
            _WORDS[found.sequence],
            "exact" if found.sequence else "needs a server that scores given texts",
        ),
        ("decoding", _WORDS[local], "exact" if local else "needs a local model"),
        ("stated", "yes", "approximate: confidences that the model writes down"),
        ("sampled", "yes", "approximate: frequencies of n samples"),
    ]


def _best(found: Capabilities) -> str:
    if found.schema is False and found.sequence:
        return "sequence"  # labels with reasons are asked for in JSON
    if found.logprobs and (found.top_logprobs or 0) > 1:
        return "labels"
    return "sequence" if found.sequence else "stated"
