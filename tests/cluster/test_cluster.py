"""A study on a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from folders import log_of
from ray.cluster_utils import Cluster as Nodes

from jitrl.agents.player import Played
from jitrl.bench.folder import LOCK, read
from jitrl.bench.jobs import Processes
from jitrl.errors import RunError
from jitrl.models.ledger import Total
from jitrl.study.cluster import Cluster
from jitrl.study.plan import Cell, Plan, parse
from jitrl.study.play import Watcher, play

PLAN = """
seeds = 2
episodes = {episodes}
steps = 8
[[world]]
name = "corridor:5"
[[world]]
name = "corridor:7"
start = "corridor:5"
[[arm]]
agent = "static"
[[arm]]
agent = "jitrl"
"""


def planned(episodes: int = 3) -> Plan:
    return parse(PLAN.format(episodes=episodes))


def long() -> Plan:
    """Two cells that last for some seconds."""
    arms = "[[arm]]\nagent = 'static'\n[[arm]]\nagent = 'jitrl'\n"
    return parse(f"episodes = 300\nsteps = 8\n[[world]]\nname = 'corridor:5'\n{arms}")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    running = Nodes(initialize_head=True, head_node_args={"num_cpus": 1})
    running.add_node(num_cpus=1)
    yield running
    running.shutdown()


class Killer(Watcher):
    """Kills the worker of the first cell that has played an episode, once."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self.killed = 0

    def played(self, cell: Cell, played: Played, spent: Total) -> None:
        if not self.killed and holders(self._out / cell.folder / LOCK):
            (process,) = holders(self._out / cell.folder / LOCK)
            os.kill(process, signal.SIGKILL)
            self.killed = process


def holders(lock: Path) -> list[int]:
    """The processes that have a lock file open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            held = [str(file.readlink()) for file in (process / "fd").iterdir()]
        except OSError:
            continue  # it has ended, or is somebody else's
        if str(lock) in held:
            found.append(int(process.name))
    return found


def same(plan: Plan, one: Path, other: Path) -> bool:
    return all(log_of(one / cell.folder) == log_of(other / cell.folder) for cell in plan.cells)


def test_two_nodes_play_what_processes_play(nodes: Nodes, tmp_path: Path) -> None:
    plan = planned()
    assert play(plan, tmp_path / "here", lambda: Processes(2)).failed == {}
    there = tmp_path / "there"
    assert play(plan, there, lambda: Cluster(nodes.address, there)).failed == {}
    assert same(plan, tmp_path / "here", there)
    assert sorted(entry.name for entry in there.iterdir()) == ["lock", "plan.toml", "runs"]


def test_a_worker_that_is_killed_costs_its_episode_alone(nodes: Nodes, tmp_path: Path) -> None:
    plan = long()
    assert play(plan, tmp_path / "here", lambda: Processes(2)).failed == {}
    there = tmp_path / "there"
    killer = Killer(there)
    outcome = play(plan, there, lambda: Cluster(nodes.address, there), watcher=killer)
    assert (outcome.failed, killer.killed > 0) == ({}, True)
    assert same(plan, tmp_path / "here", there)


def test_a_node_that_goes_costs_its_episodes_alone(tmp_path: Path) -> None:
    running = Nodes(initialize_head=True, head_node_args={"num_cpus": 1})
    second = running.add_node(num_cpus=1)

    class Remover(Watcher):
        removed = False

        def played(self, cell: Cell, played: Played, spent: Total) -> None:
            if not self.removed:
                running.remove_node(second, allow_graceful=False)
                self.removed = True

    try:
        plan, out = long(), tmp_path / "study"
        outcome = play(plan, out, lambda: Cluster(running.address, out), watcher=Remover())
    finally:
        running.shutdown()
    assert outcome.failed == {}
    assert [len(read(out / cell.folder).episodes) for cell in plan.cells] == [300] * 2


def test_what_is_no_cluster_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        Cluster("127.0.0.1:1", tmp_path)
    assert not ray.is_initialized()
