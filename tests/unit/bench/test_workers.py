from __future__ import annotations

import asyncio
import os
import signal
from multiprocessing.connection import Connection

import pytest

from jitrl.bench.workers import at_work, start


class Half:
    """What complains when it is thrown away before it was whole."""

    def __del__(self) -> None:
        raise AttributeError("no file yet")


def ordered(pipe: Connection) -> None:
    """Be told to end with a call of a model under way, and a file half open."""
    with at_work(pipe):
        held = Half(), asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        pipe.recv()
        del held


def test_a_worker_that_is_told_to_end_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    process, pipe = start(ordered)
    process.join(60)
    pipe.close()
    assert process.exitcode == 1
    assert capfd.readouterr() == ("", "")
