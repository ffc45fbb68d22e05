from __future__ import annotations

from itertools import islice

import pytest

from jitrl.bench.configuration import Configuration
from jitrl.bench.plan import plan
from jitrl.errors import InvalidValue
from jitrl.worlds import Task

TASKS = tuple(Task(f"w:{i}") for i in range(5))


def planned(tasks=TASKS, **choices):
    return plan(Configuration("w:x", **choices), tasks)


def tried(**choices):
    found = planned(**choices)
    return [(found.task(n).name, found.place(n)[1]) for n in found.wanted()]


def test_all_attempts_at_a_task_are_made_in_a_row():
    assert tried(attempts=2)[:4] == [("w:0", 0), ("w:0", 1), ("w:1", 0), ("w:1", 1)]
    assert len(tried(attempts=2)) == 10


def test_by_passes_every_task_is_tried_once_before_any_is_tried_again():
    found = tried(attempts=2, order="passes")
    assert found == [(task.name, attempt) for attempt in range(2) for task in TASKS]


@pytest.mark.parametrize("order", ["tasks", "passes"])
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_the_parts_of_a_run_play_each_episode_once_under_the_number_it_has_in_the_whole(
    order, workers
):
    whole = planned(attempts=3, order=order)
    parts = [
        planned(attempts=3, order=order, workers=workers, part=part) for part in range(workers)
    ]
    assert sorted(n for part in parts for n in part.wanted()) == whole.wanted() == list(range(15))
    for k, part in enumerate(parts):
        assert part.wanted() == sorted(part.wanted())
        assert {part.place(n)[0] % workers for n in part.wanted()} == {k}
        assert [part.place(n) for n in part.wanted()] == [whole.place(n) for n in part.wanted()]


@pytest.mark.parametrize("order", ["tasks", "passes"])
def test_fewer_episodes_cut_a_run_short_and_more_do_not_lengthen_it(order):
    assert len(tried(attempts=2, order=order, episodes=7)) == 7
    assert tried(attempts=2, order=order, episodes=7) == tried(attempts=2, order=order)[:7]
    assert len(tried(attempts=2, order=order, episodes=99)) == 10


@pytest.mark.parametrize("choices", [{"episodes": 4}, {"attempts": 4}])
def test_episodes_of_a_single_task_are_its_attempts(choices):
    found = planned(TASKS[:1], **choices)
    assert [found.place(n) for n in found.wanted()] == [(0, 0), (0, 1), (0, 2), (0, 3)]


@pytest.mark.parametrize(("tasks", "choices"), [(TASKS, {"order": "passes"}), (TASKS[:1], {})])
def test_more_attempts_leave_the_numbers_of_the_first_as_they_are(tasks, choices):
    few, many = (planned(tasks, attempts=n, **choices) for n in (2, 5))
    assert [few.place(n) for n in few.wanted()] == [many.place(n) for n in few.wanted()]


def test_a_world_without_tasks_plays_thirty_episodes_or_as_many_as_are_wanted():
    assert planned(()).wanted() == list(range(30))
    assert planned((), episodes=3).wanted() == [0, 1, 2]
    assert planned(()).task(2) is None
    assert list(islice(planned(()).numbers(), 2)) == [0, 1]


@pytest.mark.parametrize(
    "choices", [{"attempts": 2}, {"order": "passes"}, {"workers": 2}, {"workers": 2, "part": 0}]
)
def test_what_only_tasks_have_is_refused_where_there_are_none(choices):
    with pytest.raises(InvalidValue, match="it has no tasks"):
        planned((), **choices)


def test_more_processes_than_tasks_are_refused():
    with pytest.raises(InvalidValue, match="at most the number of tasks, 5"):
        planned(workers=6)


@pytest.mark.parametrize(
    ("choices", "named"),
    [
        ({"order": "backwards"}, "order"),
        ({"attempts": 0}, "attempts"),
        ({"workers": 0}, "workers"),
        ({"workers": 2, "part": 2}, "part"),
        ({"part": -1}, "part"),
        ({"options": 3}, "options"),
        ({"reset_command": "reset"}, "order passes"),
        ({"reset_command": "", "order": "passes"}, "must be a command"),
        ({"reset_command": "'open", "order": "passes"}, "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused(choices, named):
    with pytest.raises(InvalidValue, match=named):
        Configuration("w:1", **choices)


def test_passwords_are_refused_before_they_are_written_down():
    accounts = {"shop": {"username": "ann", "password": "hush-hush"}}
    with pytest.raises(InvalidValue, match="accounts_file") as caught:
        Configuration("w:1", options={"accounts": accounts})
    assert "hush" not in str(caught.value)


def test_the_command_spells_the_tasks_out():
    what = Configuration(
        "w:1",
        attempts=5,
        order="passes",
        reset_command="sh reset.sh",
        workers=3,
        options={"hard": True, "chromium": "/x"},
    )
    assert Configuration.from_json(what.as_json()) == what
    words = what.command(__import__("pathlib").Path("out"))
    assert words[words.index("--option") :][:4] == [
        "--option",
        "hard=true",
        "--option",
        'chromium="/x"',
    ]
    for option, value in (("--attempts", "5"), ("--order", "passes"), ("--workers", "3")):
        assert words[words.index(option) + 1] == value
    assert words[words.index("--reset-command") + 1] == "sh reset.sh"
    assert "--episodes" not in words


def test_a_folder_is_not_named_after_a_hundred_tasks():
    one, other = (Configuration(f"w:{','.join(['a-task'] * n)}").folder().name for n in (40, 41))
    assert len(one) < 130
    assert one != other
