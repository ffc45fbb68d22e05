"""Our end of a browser's process: requests with a time limit, and an end to what hangs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jitrl.errors import JitrlError, WorldError
from jitrl.worlds import Grader
from jitrl.worlds.children import command, environment

__all__ = ["BrowserGone", "BrowserProcess", "BrowserSlow"]

_CLOSING = 5.0  # seconds that a browser may take to close
_AGAIN = 0.02  # seconds between two tries to remove a folder
_LINES = 3  # of what a process said last, in an error
_STARTING = 120.0  # seconds for imports


def _is_key(variable: str) -> bool:
    """Say whether an environment variable holds the key to a server of language models."""
    return variable.upper().endswith("_API_KEY")


class BrowserGone(WorldError):
    """The browser, or its process, does not answer or has ended; it is closed."""


class BrowserSlow(BrowserGone):
    """It did not answer in time."""


class BrowserProcess:
    """A `jitrl.worlds.browser.host`, started at once, without the keys to language models.

    Not for two threads at once.

    grader  answers where an evaluator asks a language model; None: where it would, there is no
            verdict

    Raises WorldError where it cannot be started.
    """

    def __init__(self, settings: Mapping[str, Any], grader: Grader | None = None) -> None:
        self._grader = grader
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._browser: _Browser | None = None
        self._unread = b""
        self._folder = tempfile.mkdtemp(prefix="jitrl-browser-")
        self._process = subprocess.Popen(
            command("jitrl.worlds.browser.host", self._folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,  # Ctrl-C is for us: we close it
            # No evaluator there asks a model by itself: it has no key.
            env={name: value for name, value in environment().items() if not _is_key(name)},
        )
        self.ask("open", _STARTING, settings=dict(settings), grades=grader is not None)

    def ask(self, do: str, seconds: float, **request: Any) -> dict[str, Any]:
        """Return the answer to a request.

        Raises BrowserGone, having ended the process, where there is none within `seconds`, or where
        the browser cannot go on.
        """
        told = self._sent({"do": do} | request, seconds)
        while "ask" in told:
            assert self._grader is not None
            told = self._sent(self._reply(told["ask"]), seconds)
        if told.get("process") is not None:
            self._let_go()
            self._browser = _Browser.of(told["process"])
        if "gone" in told:
            self.kill()
            raise BrowserGone(told["gone"])
        return told

    def _reply(self, messages: Sequence[Mapping[str, str]]) -> dict[str, str]:
        """Return what the grader says, or why it says nothing."""
        assert self._grader is not None
        try:
            return {"reply": self._grader(messages)}
        except JitrlError as error:
            return {"refused": str(error)}
        except BaseException:
            self.kill()
            raise

    def _sent(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send one line, and return the next that comes back."""
        try:
            assert self._process.stdin is not None
            self._process.stdin.write((json.dumps(message) + "\n").encode())
            self._process.stdin.flush()
            answer = self._line(time.monotonic() + seconds)
        except BrokenPipeError:  # it may have said why before it ended
            answer = self._line(time.monotonic() + _CLOSING)
        except ValueError:  # the pipe is closed
            answer = b""
        if answer is None:
            self.kill()
            raise BrowserSlow(f"timed out: no answer within {seconds:.0f} s")
        if not answer:
            said = self._last_words()
            self.kill()
            raise BrowserGone(f"the browser's process ended: {said}")
        told: dict[str, Any] = json.loads(answer)
        return told

    def close(self) -> None:
        """Close the browser and its process; calling it twice is harmless."""
        if self._process.poll() is None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_CLOSING)
        self.kill()

    def kill(self) -> None:
        """End the process and its browser, whatever they do, and wait until they have ended."""
        with contextlib.suppress(ProcessLookupError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._let_go()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        remove(self._folder)  # what a browser that was killed has left

    def _let_go(self) -> None:
        browser, self._browser = self._browser, None
        if browser is not None:
            browser.end()

    def _line(self, until: float) -> bytes | None:
        """Return the next line; b"" at the end, None where the time is over."""
        assert self._process.stdout is not None
        number = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            ready, _, _ = select.select([number], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return None
            more = os.read(number, 1 << 20)
            if not more:
                return b""
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _last_words(self) -> str:
        with contextlib.suppress(ValueError, OSError):
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").strip().splitlines()
            return " / ".join(lines[-_LINES:])[:500] or "it said nothing"
        return "it said nothing"


@dataclass(frozen=True)
class _Browser:
    """A browser that we started: its process, and a handle that no later process can have."""

    process: int
    handle: int

    @classmethod
    def of(cls, process: int) -> _Browser | None:
        """Return it; None where it has ended, or there are no such handles (macOS).

        Without one it ends by itself, since its pipe is closed.
        """
        with contextlib.suppress(ProcessLookupError, AttributeError):
            return cls(process, os.pidfd_open(process))
        return None

    def end(self) -> None:
        """Kill it with all of its processes, and wait until it has ended."""
        ended, _, _ = select.select([self.handle], [], [], 0.0)
        if not ended:
            end_group(self.process)
            select.select([self.handle], [], [], _CLOSING)
        os.close(self.handle)


def remove(folder: str) -> None:
    """Remove a folder while processes that are ending still write; once it is gone, none can.

    Gives up after some seconds.
    """
    until = time.monotonic() + _CLOSING
    while Path(folder).exists():
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() >= until:
            return
        time.sleep(_AGAIN)


def end_group(process: int) -> None:
    """Kill a browser with its group, which Playwright gives it; never the group that we are in."""
    with contextlib.suppress(ProcessLookupError):
        group = os.getpgid(process)
        if group == os.getpgrp():
            os.kill(process, signal.SIGKILL)
        else:
            os.killpg(group, signal.SIGKILL)
