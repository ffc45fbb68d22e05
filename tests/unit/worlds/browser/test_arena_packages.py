"""The packages of the benchmarks: what is missing is named with the command that installs it."""

from __future__ import annotations

import pytest

from jitrl.errors import MissingExtra
from jitrl.worlds.browser.arena.packages import PACKAGES, Package


@pytest.mark.parametrize("asked", ["version", "path", "read"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(asked):
    package = Package("jitrl-no-such-package", "1.2", "tasks.json", "evaluators")
    ask = {
        "version": lambda: package.version,
        "path": lambda: package.path("tasks.json"),
        "read": package.read,
    }
    with pytest.raises(MissingExtra) as error:
        ask[asked]()
    assert str(error.value) == (
        "jitrl-no-such-package is not installed: pip install --no-deps jitrl-no-such-package==1.2"
    )


def test_each_benchmark_has_a_package_of_its_own():
    assert set(PACKAGES) == {"webarena", "webarena-lite"}
    assert len({package.name for package in PACKAGES.values()}) == 2
