"""Which episodes a run plays, of which tasks, and in which order. Pure.

Episodes are numbered in the order of one process that plays them all. A part of a run plays those
of its own tasks under the same numbers, so that no number, id or random draw belongs to two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count, takewhile

from jitrl.bench.configuration import Configuration
from jitrl.errors import InvalidValue
from jitrl.worlds import Suite, Task, World

EPISODES = 30
"""Of a world without tasks, unless the user says otherwise."""
_SUITE_ONLY = {"attempts": 1, "order": "tasks", "workers": 1}


@dataclass(frozen=True, slots=True)
class Plan:
    """The episodes of a run, or of a part of it.

    tasks      of the suite; empty for a world without tasks
    attempts   at each task
    by_pass    every task once, then every task again; otherwise all attempts at a task in a row
    total      episodes in all, those of other parts included
    part       (k, n): of every n-th task, from the k-th on
    """

    tasks: tuple[Task, ...]
    attempts: int
    by_pass: bool
    total: int
    part: tuple[int, int] = (0, 1)

    def place(self, number: int) -> tuple[int, int]:
        """Return (index of the task, attempt), both from 0, of an episode."""
        if self.by_pass:
            attempt, index = divmod(number, max(len(self.tasks), 1))
            return index, attempt
        return divmod(number, self.attempts)

    def task(self, number: int) -> Task | None:
        """Return the task of an episode; None in a world without tasks."""
        return self.tasks[self.place(number)[0]] if self.tasks else None

    def numbers(self) -> Iterator[int]:
        """Iterate over the episodes of this part in order, without end."""
        k, n = self.part
        return (number for number in count() if self.place(number)[0] % n == k)

    def wanted(self) -> list[int]:
        """Return the episodes that this part plays, in order."""
        return list(takewhile(lambda number: number < self.total, self.numbers()))

    def left(self, finished: Collection[int]) -> list[int]:
        """Return the episodes that this part has still to play, in order."""
        return [number for number in self.wanted() if number not in finished]


def plan(configuration: Configuration, tasks: tuple[Task, ...]) -> Plan:
    """Return what a configuration plays of a world with these tasks.

    Raises InvalidValue for what makes no sense there.
    """
    attempts, episodes = configuration.attempts, configuration.episodes
    if not tasks:
        for name, usual in _SUITE_ONLY.items():
            if (value := getattr(configuration, name)) != usual:
                rule = f"has no meaning for {configuration.world}: it has no tasks"
                raise InvalidValue(name, value, rule)
        return Plan((), 1, True, EPISODES if episodes is None else episodes)
    if configuration.workers > len(tasks):
        rule = f"must be at most the number of tasks, {len(tasks)}"
        raise InvalidValue("workers", configuration.workers, rule)
    total = len(tasks) * attempts
    if episodes is not None:  # of a single task, as many attempts as episodes
        total = episodes if len(tasks) == 1 else min(episodes, total)
    by_pass = configuration.order == "passes" or len(tasks) == 1
    part = (configuration.part or 0, 1 if configuration.part is None else configuration.workers)
    return Plan(tasks, attempts, by_pass, total, part)


def tasks_of(world: World) -> tuple[Task, ...]:
    """Return the tasks of a suite; none of another world."""
    return world.tasks if isinstance(world, Suite) else ()
