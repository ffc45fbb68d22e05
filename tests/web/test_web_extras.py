"""What a world of web pages lacks is named with the extra that brings it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import importlib.metadata, sys
found = importlib.metadata.Distribution.from_name
def without(name):
    if name in sys.argv[1].split(","):
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)
importlib.metadata.Distribution.from_name = staticmethod(without)
from jitrl.errors import MissingExtra
from jitrl.worlds import make
try:
    make(sys.argv[2], **({"goal": "x"} if sys.argv[2].startswith("web:") else {}))
except MissingExtra as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("world", "package", "extra"),
    [
        ("web:http://127.0.0.1:1/", "browsergym-core", "web"),
        ("miniwob:click-test", "browsergym-miniwob", "web"),
        ("browsergym:other.task", "browsergym-core", "web"),
        ("webarena:1", "browsergym-core", "webarena"),
        ("webarena:1", "nltk", "webarena"),
        ("webarena-lite:4", "beartype", "webarena"),
        ("webarena-verified:1", "browsergym-core", "webarena"),
        ("pocket-web:0", "browsergym-core", "pocket"),
        ("pocket-web:0", "requests", "pocket"),
        ("pocket-web:0", "django", "pocket"),
        ("pocket-web:0", "klaus", "pocket"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(
    world: str, package: str, extra: str
) -> None:
    told = [sys.executable, "-c", PROGRAM, package, world]
    done = subprocess.run(told, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{package} is not installed: pip install 'jitrl[{extra}]'\n", done.stderr


def test_all_that_is_missing_is_named_at_once() -> None:
    told = [sys.executable, "-c", PROGRAM, "django,klaus,libwebarena", "pocket-web:0"]
    done = subprocess.run(told, capture_output=True, text=True, timeout=60)
    assert done.stdout == (
        "django, klaus, libwebarena are not installed: pip install 'jitrl[pocket]' && "
        "pip install --no-deps libwebarena==0.0.4\n"
    ), done.stderr


@pytest.mark.parametrize("world", ["webarena:1", "pocket-web:0"])
def test_the_evaluators_are_installed_beside_the_extra(world: str) -> None:
    told = [sys.executable, "-c", PROGRAM, "libwebarena", world]
    done = subprocess.run(told, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("libwebarena is not installed: pip install --no-deps libwebarena")
