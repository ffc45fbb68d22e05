"""The packages that WebArena and WebArena-Lite come in: installed for their files, never imported.

They ask for gigabytes that nothing here uses, so they are installed without their dependencies;
what their evaluators do import comes with the extra `webarena`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from jitrl.worlds.browser.arena.task_files import TaskFile, read
from jitrl.worlds.browser.world import installed, needs

__all__ = ["IMPORTED", "PACKAGES", "Package", "require"]


@dataclass(frozen=True, slots=True)
class Package:
    """A package, and what is where in it.

    tested      the version that is tested
    tasks       its task file
    number      the key of a task's number there
    evaluators  the folder of its evaluators
    """

    name: str
    tested: str
    tasks: str
    evaluators: str
    number: str = "task_id"

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install --no-deps {self.name}=={self.tested}"

    @property
    def version(self) -> str:
        """The version that is installed. Raises MissingExtra."""
        return installed(self.name, self.install).version

    def path(self, inside: str) -> Path:
        """Return where a file or folder of it lies. Raises MissingExtra."""
        return Path(str(installed(self.name, self.install).locate_file(inside)))

    def read(self) -> TaskFile:
        """Return its tasks. Raises MissingExtra, or WorldError for a file that is none."""
        return read(self.path(self.tasks), number=self.number)


PACKAGES: Mapping[str, Package] = MappingProxyType(
    {
        "webarena": Package(
            "libwebarena", "0.0.4", "webarena/test.raw.json", "webarena/evaluation_harness"
        ),
        "webarena-lite": Package(
            "browsergym-webarenalite",
            "0.14.3",
            "browsergym/webarenalite/test_webarena_lite.raw.json",
            "browsergym/webarenalite",
            number="old_task_id",
        ),
    }
)
"""Benchmark -> its package."""

IMPORTED = ("nltk", "requests", "beartype")
"""What evaluators import, and the extra `webarena` brings."""


def require(
    kind: str,
    *packages: str,
    extra: str = "webarena",
    beside: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raise MissingExtra, with all that is missing, unless all is there that a benchmark needs.

    packages, beside  that are needed too, as for `needs`
    """
    package = PACKAGES[kind]
    needed = ("browsergym-core", *IMPORTED, *packages)
    needs(*needed, extra=extra, beside={package.name: package.install, **beside})
