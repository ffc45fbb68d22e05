"""What a world of web pages lacks is named with the extra that brings it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize(
    ("world", "lacking", "said"),
    [
        (
            "webarena:1",
            "nltk,beartype,libwebarena",
            "nltk, beartype, libwebarena are not installed: pip install 'jitrl[webarena]' && "
            "pip install --no-deps libwebarena==0.0.4\n",
        ),
        (
            "webarena-lite:4",
            "browsergym-webarenalite",
            "browsergym-webarenalite is not installed: pip install --no-deps "
            "browsergym-webarenalite==0.14.3\n",
        ),
        (
            "pocket-web:0",
            "django,klaus,libwebarena,git",
            "django, klaus, libwebarena, git are not installed: pip install 'jitrl[pocket]' && "
            "pip install --no-deps libwebarena==0.0.4 && apt-get install git\n",
        ),
        (
            "browsergym:nothing.3,none.4",
            "browsergym-core",
            "browsergym-core, browsergym-none, browsergym-nothing are not installed: pip install "
            "'jitrl[web]' && pip install browsergym-none && pip install browsergym-nothing\n",
        ),
    ],
)
def test_all_that_is_missing_is_named_at_once_with_the_commands_that_install_it(
    world: str, lacking: str, said: str, tmp_path: Path
) -> None:
    path = str(tmp_path) if "git" in lacking.split(",") else os.environ["PATH"]
    told = [sys.executable, "-c", PROGRAM, lacking, world]
    environment = os.environ | {"PATH": path}
    done = subprocess.run(told, capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout == said, done.stderr
