"""Every example in a docstring is true."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil

import pytest

import jitrl

# Imported only in processes of their own: those of servers, where Django is configured, and those
# of browsers, where BrowserGym is installed.
ELSEWHERE = (
    "jitrl.worlds.pocket.sites.",
    "jitrl.worlds.browser.gym",
    "jitrl.worlds.browser.arena.gym_tasks",
)


def modules():
    yield "jitrl"
    for found in pkgutil.walk_packages(jitrl.__path__, "jitrl."):
        if not found.name.endswith("__main__") and not found.name.startswith(ELSEWHERE):
            yield found.name


@pytest.mark.parametrize("name", sorted(modules()))
def test_the_examples_of_a_module_are_true(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.failed == 0


def test_the_mathematical_core_has_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in ("update", "released", "similarity", "presets", "records", "seeds", "errors"):
        module = importlib.import_module(f"jitrl.{name}")
        assert any(test.examples for test in finder.find(module)), name
