"""The verdict on an attempt: the benchmark's own evaluator, asked once, in tabs of its own.

Its evaluators are handed a page that only looks like the agent's: they read there what the agent
left, but whatever they visit opens in a new tab, which is closed when they are done or fail.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from jitrl.errors import JitrlError, WorldError
from jitrl.worlds import Grader
from jitrl.worlds.browser.arena.evaluators import Evaluators
from jitrl.worlds.browser.arena.expressions import PREFIX, parse
from jitrl.worlds.browser.arena.task_files import Config

__all__ = ["Judge", "answer_in"]


def answer_in(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what the agent answered, whole; "N/A" where it reported the task as infeasible.

    Returns None where the last message is not the agent's.
    """
    last = messages[-1] if messages else {"role": "user"}
    if last["role"] == "infeasible":
        return "N/A"
    return str(last["message"]) if last["role"] == "assistant" else None


class Judge:
    """Asks evaluators for the verdict on a task.

    grader  returns who grades; None: where the score depends on a grader there is no verdict
    """

    def __init__(
        self, evaluators: Callable[[Grader], Evaluators], grader: Callable[[], Grader | None]
    ) -> None:
        self._grader = grader
        self._asked = False
        self._theirs = evaluators(self._ask)

    def verdict(self, config: Config, page: Any, answer: str | None) -> float:
        """Return the score of an attempt, in [0, 1].

        page    Playwright's page where the agent ended: it is read, and stays where it is
        answer  the agent's message, None where it sent none
        Raises WorldError where there is no verdict: an evaluator failed, or needs a grader.
        """
        self._asked = False
        score = 1.0
        with tempfile.TemporaryDirectory() as folder, _Tabs(page) as tabs:
            for part in _parts(config):
                if "string_match" in part["eval"]["eval_types"] and not answer:
                    return 0.0  # nothing was said: no need to ask whether it was right
                try:
                    score *= self._ask_theirs(part, Path(folder) / "task.json", tabs, answer)
                except JitrlError:
                    raise
                except Exception as error:
                    why = " ".join(str(error).split())[:300]
                    kind = type(error).__name__
                    raise WorldError(
                        f"the evaluator failed: {kind}: {why or 'no reason'}"
                    ) from error
                if score == 0:
                    return 0.0
        if self._asked and self._grader() is None:
            raise WorldError("needs a grader: name one with --grader")
        return score

    def _ask_theirs(
        self, part: dict[str, Any], file: Path, tabs: _Tabs, answer: str | None
    ) -> float:
        read = None
        for target in part["eval"].get("program_html") or ():
            read = self._prepare(target, tabs.agents.url)
        file.write_text(json.dumps(part), encoding="utf-8")
        evaluator = self._theirs.route(str(file))
        page = _looking_like(self._theirs.page, tabs, read)
        # Of a trajectory they look at nothing but the answer.
        return float(evaluator([{}, {"answer": answer or ""}], str(file), page, None))

    def _prepare(self, target: dict[str, Any], last_url: str) -> Callable[[Any], str] | None:
        """Put values in the place of a target's expressions; return how to read its page."""
        if target["url"].startswith(PREFIX):
            url = parse(target["url"]).made(self._theirs.helpers, None, last_url)
            if not urlsplit(url).netloc:
                raise WorldError(f"the evaluator cannot visit {url!r}: the agent ended elsewhere")
            target["url"] = url
        locator = target["locator"]
        if not locator.startswith(PREFIX):
            return None
        call = parse(locator)
        target["locator"] = ""  # all of the page: what the helper says of it, see `content` below
        return lambda page: str(call.made(self._theirs.helpers, page, last_url))

    def _ask(self, messages: Sequence[Mapping[str, str]]) -> str:
        self._asked = True
        grader = self._grader()
        if grader is None:
            return "correct, same"  # the best it could say: a 0 for other reasons needs no grader
        return grader(messages)


def _parts(config: Config) -> list[dict[str, Any]]:
    """Return a task once for each thing that is judged: their product is the score.

    Every target of page content is judged by itself, so that each finds the agent's page as the
    agent left it, and an exception in one is not mistaken for a verdict.
    """
    rules = config["eval"]
    parts = []
    for kind in rules["eval_types"]:
        targets = rules["program_html"] if kind == "program_html" else [None]
        for target in targets:
            looked = {} if target is None else {"program_html": [dict(target)]}
            parts.append({**config, "eval": {**rules, "eval_types": [kind], **looked}})
            if target is None:
                parts[-1]["eval"].pop("program_html", None)
    if not parts:
        raise WorldError("the task names nothing that could be judged")
    return parts


class _Tabs:
    """The agent's page, and the tabs that were opened beside it, closed at the end."""

    def __init__(self, page: Any) -> None:
        self.agents = page
        self._opened: list[Any] = []

    def open(self) -> Any:
        tab = self.agents.context.new_page()
        self._opened.append(tab)
        return tab

    def __enter__(self) -> _Tabs:
        return self

    def __exit__(self, *_: object) -> None:
        for tab in self._opened:
            if not tab.is_closed():
                tab.close()


def _looking_like(kind: type[Any], tabs: _Tabs, read: Callable[[Any], str] | None) -> Any:
    """Return what evaluators are handed as a page; `kind` is their own class of such things."""

    class Seen(kind):  # type: ignore[misc]
        original_page: Any
        url: str

        @property
        def context(self) -> Any:
            return SimpleNamespace(new_page=lambda: Seen(tabs.open(), "about:blank"))

        def goto(self, url: str, **options: Any) -> Any:
            if self.original_page is tabs.agents:
                self.original_page = tabs.open()
            response = self.original_page.goto(url, **options)
            self.url = self.original_page.url
            return response

        def content(self) -> str:
            page = self.original_page
            return str(page.content()) if read is None else read(page)

        def close(self) -> None:
            if self.original_page is not tabs.agents:
                self.original_page.close()

    return Seen(tabs.agents, tabs.agents.url)
