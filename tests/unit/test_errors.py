"""The exception tree, and what a message says."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest

from jitrl import errors
from jitrl.errors import InvalidValue, JitrlError, UnknownName

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


def test_every_exception_derives_from_jitrl_error():
    assert len(ALL) >= 11
    assert all(issubclass(kind, JitrlError) for kind in ALL)


def test_wrong_values_are_value_errors_and_unknown_names_key_errors_as_well():
    assert issubclass(InvalidValue, ValueError)
    assert issubclass(UnknownName, InvalidValue)
    assert issubclass(UnknownName, KeyError)


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (errors.NotAMemory, errors.StoreError),
        (errors.NewerMemory, errors.StoreError),
        (errors.MemoryUnavailable, errors.StoreError),
        (errors.MissingExtra, errors.JitrlError),
        (errors.BadReply, errors.ModelError),
        (errors.ModelUnavailable, errors.ModelError),
        (errors.RequestRejected, errors.ModelError),
        (errors.NotRecorded, errors.ModelError),
    ],
)
def test_the_branches_are_as_drawn(kind, parent):
    assert issubclass(kind, parent)


def test_the_tree_in_the_docstring_names_every_exception():
    for kind in ALL:
        assert kind.__name__ in errors.__doc__


def test_a_message_says_what_which_value_and_what_to_do():
    error = InvalidValue("gamma", 1.5, "must lie in [0, 1]")
    assert str(error) == "gamma must lie in [0, 1], actual value: 1.5"
    assert (error.name, error.value) == ("gamma", 1.5)


def test_an_unknown_name_lists_the_known_ones_without_quotes_around_the_message():
    error = UnknownName("preset", "papr", ["default", "paper"])
    assert str(error) == "preset must be one of: default, paper, actual value: 'papr'"


def test_of_many_names_those_are_told_that_may_be_meant():
    names = [f"task-{number}" for number in range(100)] + ["login-user"]
    near, far = (str(UnknownName("task", name, names)) for name in ("login-usr", "?"))
    assert "one of 101: did you mean login-user, actual" in near
    assert "one of 101: task-0, task-1, task-2, task-3, task-4 ..., actual" in far


@pytest.mark.parametrize("value", ["x" * 10_000, list(range(10_000)), {"k": "v" * 500}])
def test_a_long_value_is_cut_in_the_message_and_kept_whole(value):
    error = InvalidValue("state", value, "must be short")
    assert len(str(error)) < 200
    assert str(error).endswith("...")
    assert error.value is value


@pytest.mark.parametrize("value", ["two\nlines", np.eye(3), "tab\r\n"])
def test_a_message_is_one_line_whatever_the_value(value):
    assert len(str(InvalidValue("reward", value, "must be finite")).splitlines()) == 1


@pytest.mark.parametrize(
    "error",
    [
        InvalidValue("gamma", 1.5, "must lie in [0, 1]"),
        UnknownName("preset", "papr", ["default", "paper"]),
        errors.EpisodeError("call record() first"),
        errors.MemoryUnavailable("no memory"),
    ],
)
def test_an_exception_survives_a_copy_and_so_the_way_between_processes(error):
    twin = copy.copy(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)
