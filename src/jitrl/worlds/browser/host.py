"""The process that owns a browser: it plays tasks of one benchmark, as it is told on a pipe.

    python -m jitrl.worlds.browser.host FOLDER   one JSON object a line on standard input, one back

The first line names the benchmark and says which Chromium to start; then come `reset`, `step` and
`verdict`. Whatever hangs here is ended by the process that started it. What is printed goes to
standard error. Temporary files, the browser's too, lie in FOLDER, which is removed at the end.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import select
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TextIO, cast

from jitrl.errors import JitrlError, WorldError
from jitrl.worlds import Grader
from jitrl.worlds.browser.benchmark import Benchmark
from jitrl.worlds.browser.page import pack, read_tree, tidy
from jitrl.worlds.browser.process import end_group, remove

_TITLE = 200
_CLOSING = 5.0  # seconds that a browser may take to close


@dataclass(frozen=True)
class Settings:
    """What the first line says.

    module, which, options  the benchmark: `module.benchmark(which, **options)`
    chromium                the program
    headless                without a window
    settle                  seconds to wait after an action before the page is read
    screenshot              send a picture with every page
    """

    module: str
    which: str
    options: Mapping[str, Any]
    chromium: str
    headless: bool
    settle: float
    screenshot: bool


class Host:
    """Plays tasks in a browser of its own, a new one for each."""

    process: int | None = None
    """Of the browser."""

    def __init__(
        self, settings: Settings, grader: Grader | None, crashed: Callable[[str], None]
    ) -> None:
        from jitrl.worlds.browser.gym import on_driver_end

        self._settings = settings
        self._crashed = crashed
        module = importlib.import_module(settings.module)
        self._benchmark = cast(Benchmark, module.benchmark(settings.which, **settings.options))
        if grader is not None and hasattr(self._benchmark, "grader"):
            self._benchmark.grader = grader
        self._env: Any = None
        self._notes: list[str] = []
        on_driver_end(lambda: crashed("the browser's driver ended"))

    def reset(self, task: str, seed: int) -> dict[str, Any]:
        """Begin a task."""
        from jitrl.worlds.browser.gym import open_env

        self.close()
        entry, arguments = self._benchmark.entry(task)
        self._env = open_env(
            entry,
            arguments,
            executable=self._settings.chromium,
            headless=self._settings.headless,
            settle=self._settings.settle,
            screenshot=self._settings.screenshot,
            context=self._benchmark.context(task),
            judge=self._benchmark.verdict == "step",
        )
        shown, info = self._env.reset(seed=seed)
        self._notes = []
        self._watch()
        self.process = self._env.process()
        return self._told(shown, 0.0, False) | {
            "goal": str(shown["goal"]),
            "note": str(info.get("task_info", {}).get("note", "")),
            "process": self.process,
        }

    def step(self, call: str) -> dict[str, Any]:
        """Execute one call of BrowserGym."""
        self._notes = []
        shown, score, done, _, info = self._env.step(call)
        told = self._told(shown, float(score), bool(done))
        told["failed"] = _first_line(shown["last_action_error"])
        told["error"] = str(info.get("task_info", {}).get("error", ""))
        told["page"] += info["get_observation_stop"] - info["get_observation_start"]
        return told

    def verdict(self) -> dict[str, Any]:
        """Ask the benchmark's evaluator, once."""
        score, error = 0.0, ""
        try:
            score, error = self._env.verdict()
        except JitrlError as failure:
            error = str(failure)
        except Exception as failure:  # noqa: BLE001 - whatever an evaluator raises is no success
            error = f"the evaluator failed: {type(failure).__name__}: {failure}"[:500]
        return {"score": score, "error": error}

    def close(self) -> None:
        """Close the browser."""
        env, self._env = self._env, None
        if env is not None:
            with suppress(Exception):  # a browser that is gone already cannot be closed
                env.close()

    def _watch(self) -> None:
        """Take note of what happens beside the page: dialogs, tabs, downloads, crashes."""
        for page in self._env.context.pages:
            self._watch_page(page)
        self._env.context.on("page", self._opened)

    def _opened(self, page: Any) -> None:
        self._notes.append("a new tab was opened")
        self._watch_page(page)

    def _watch_page(self, page: Any) -> None:
        page.on("dialog", self._dialog)
        page.on("download", self._download)
        page.on("crash", lambda _: self._crashed("the page crashed"))

    def _dialog(self, dialog: Any) -> None:
        leaving = dialog.type == "beforeunload"  # dismissed, it would hold the agent on its page
        done = "accepted" if leaving else "dismissed"
        self._notes.append(f"a dialog was {done}: {dialog.type} {dialog.message[:_TITLE]!r}")
        dialog.accept() if leaving else dialog.dismiss()

    def _download(self, download: Any) -> None:
        name = download.suggested_filename[:_TITLE]
        self._notes.append(f"a download was not kept: {name!r}")
        with suppress(Exception):  # it may be finished, or its page gone
            download.cancel()

    def _told(self, shown: Any, score: float, done: bool) -> dict[str, Any]:
        started = time.perf_counter()
        nodes = read_tree(shown["axtree_object"], shown["extra_element_properties"])
        told = {
            "url": str(shown["url"]),
            "tabs": [str(url) for url in shown["open_pages_urls"]],
            "tab": int(shown["active_page_index"][0]),
            "title": tidy(shown["title"])[:_TITLE],
            "nodes": pack(nodes),
            "score": score,
            "done": done,
            "notes": self._notes,
            "page": time.perf_counter() - started,
        }
        if self._settings.screenshot:
            told["image"] = base64.b64encode(_png(shown["screenshot"])).decode("ascii")
        return told


def _png(pixels: Any) -> bytes:
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(pixels).save(written, format="PNG")
    return written.getvalue()


class Server:
    """Answers requests, a line each, until there are no more."""

    def __init__(self, asked: TextIO, answers: TextIO) -> None:
        self._asked, self._answers = asked, answers
        self.host: Host | None = None

    def serve(self) -> None:
        """Answer; then close the browser."""
        try:
            while line := self._asked.readline():
                try:
                    answer = self._answer(json.loads(line))
                except Exception as error:  # noqa: BLE001 - told to the process that asked
                    answer = {"gone": f"{type(error).__name__}: {_first_line(str(error))}"}
                self._tell(answer)
        finally:
            if self.host is not None:
                self.host.close()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        do = request.pop("do")
        if do == "open":
            grader = self._grade if request["grades"] else None
            self.host = Host(Settings(**request["settings"]), grader, self._end_at_once)
            return {}
        if self.host is None:
            raise RuntimeError("nothing is open yet")
        if do == "reset":
            return self.host.reset(**request)
        return self.host.step(**request) if do == "step" else self.host.verdict()

    def _grade(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Ask the process that asked us, whose models we do not know."""
        self._tell({"ask": [dict(message) for message in messages]})
        told = json.loads(self._asked.readline())
        if "refused" in told:
            raise WorldError(f"the grader gave no grade: {told['refused']}")
        return str(told["reply"])

    def _end_at_once(self, why: str) -> None:
        """Say what crashed, and end: whatever waits for it would wait for ever."""
        self._tell({"gone": why})
        if self.host is not None and self.host.process is not None:
            end_group(self.host.process)
        os._exit(1)

    def _tell(self, answer: Mapping[str, Any]) -> None:
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:500]


def main(folder: str) -> None:
    """Serve the process that started this one, and end with it."""
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever is printed goes where errors go
    server = Server(io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8"), answers)
    threading.Thread(target=_end_alone, args=(server,), daemon=True).start()
    try:
        with suppress(BrokenPipeError):  # who asked is gone
            server.serve()
    finally:
        remove(folder)


def _end_alone(server: Server) -> None:
    """End this process, whatever a page does, when the one that started it is gone."""
    gone = select.poll()
    gone.register(0, 0)  # only that the other end is closed
    gone.poll()
    time.sleep(_CLOSING)  # so long it may close the browser by itself
    if server.host is not None and server.host.process is not None:
        end_group(server.host.process)
    remove(tempfile.gettempdir())
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
