"""Faults at the border to the operating system: the n-th change of a file fails, or kills.

A test starts a program of its own under a library that stands before the C library (`preloaded`).
That program calls `rounds`: something is done once to count the calls that change files, then
again for every call and every fault, each time in a child of its own on a fresh copy of a folder.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from jitrl.errors import JitrlError

KINDS = {"io error": 1, "disk full": 2, "short write": 3, "killed": 4}
LASTING = {"disk full"}  # it stays full


@dataclass(frozen=True)
class Fault:
    """The `at`-th change of a file goes wrong; `call` is which one that was when all went well."""

    kind: str
    at: int
    call: str

    def __str__(self):
        return f"{self.kind} at change {self.at} ({self.call})"


@dataclass(frozen=True)
class Outcome:
    """What became of it: what was acknowledged, what was raised ("" for nothing), or it died."""

    acknowledged: list[str]
    error: str
    died: bool


def library(folder):
    """Compile the library into a folder; returns its path."""
    made, source = folder / "faults.so", Path(__file__).with_name("faults.c")
    flags = ["-Wall", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, "-o", made, source, "-ldl"], check=True)
    return made


def preloaded(library, program, *arguments):
    """Run a Python file under the library; returns what it printed, a JSON value."""
    paths = [*sys.path, str(Path(__file__).parent)]
    done = subprocess.run(
        [sys.executable, program, *map(str, arguments)],
        env=os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(done.stdout)


def rounds(fresh, work, act, check, kinds=tuple(KINDS)):
    """Do `act` with every fault; print the number of calls, and the failures of `check`, as JSON.

    fresh  a folder: each time a copy of it is `work`, where the faults are
    act    act(work, acknowledge): raises errors of ours alone; tells what it has done for good
    check  check(work, outcome): raises AssertionError, or anything else, where that is not so
    """
    failures = []
    log = work.with_name(f"{work.name}.calls")
    _round(fresh, work, act, None, log)
    calls = log.read_text().splitlines()
    for kind in kinds:
        for at, call in enumerate(calls, 1):
            fault = Fault(kind, at, call)
            outcome = _round(fresh, work, act, fault)
            try:
                assert outcome.died == (kind == "killed"), outcome
                check(work, outcome)
            except Exception:  # noqa: BLE001  (told to whoever runs the test)
                failures.append(f"{fault}: {outcome}: {traceback.format_exc(limit=-2)}")
    sys.stdout.write(json.dumps({"calls": calls, "failures": failures}))


def _round(fresh, work, act, fault, log=None):
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(fresh, work)
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        os.close(told)
        try:
            with os.fdopen(tell, "w", buffering=1) as out:
                _play(work, act, fault, log, lambda kind, text: out.write(f"{kind}{text}\n"))
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(told) as lines:
        said = lines.read().splitlines()
    _, status = os.waitpid(child, 0)
    unexpected = [line[1:] for line in said if line[0] == "!"]
    assert not unexpected, f"{fault}: {unexpected}"
    return Outcome(
        acknowledged=[line[1:] for line in said if line[0] == "+"],
        error="".join(line[1:] for line in said if line[0] == "-"),
        died=os.WIFSIGNALED(status),
    )


def _play(work, act, fault, log, say):
    disk = ctypes.CDLL(None)
    kind, at = (KINDS[fault.kind], fault.at) if fault else (0, 0)
    disk.faults_arm(
        os.fsencode(work),
        kind,
        ctypes.c_long(at),
        int(fault is not None and fault.kind in LASTING),
        os.fsencode(log) if log else None,
    )
    try:
        act(work, lambda text: say("+", text))
    except JitrlError as error:
        say("-", f"{type(error).__name__}: {error}")
    except BaseException:  # noqa: BLE001  (told to whoever runs the test)
        say("!", traceback.format_exc().replace("\n", " | "))
    disk.faults_disarm()


def unreadable(path, start, stop):
    """Let reading these bytes of a file fail from now on; only under the library."""
    ctypes.CDLL(None).faults_unreadable(
        os.fsencode(path), ctypes.c_int64(start), ctypes.c_int64(stop)
    )
