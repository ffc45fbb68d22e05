"""One episode of a world: what it is seeded by, where it ends, what is kept and what it says."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

import jitrl
from jitrl.agents import player
from jitrl.agents.player import StepListener
from jitrl.errors import InvalidValue, JitrlError, WorldError
from jitrl.records import Candidate, Observation, Scores, State
from jitrl.scores import Sampled
from jitrl.scores.prior import Prior
from jitrl.scores.text import executable
from jitrl.seeds import generator, integer
from jitrl.worlds import Task


class Corridor:
    """Cells in a row. The seed says where one begins; the right end pays and ends it.

    truncate_at   the world's own limit of steps
    break_at      the step at which it breaks
    """

    name = "corridor:6"
    max_score = 1.0
    reward_range = (0.0, 1.0)
    version = {"corridor": "1"}  # noqa: RUF012  (as the contract has it)

    def __init__(self, truncate_at=None, break_at=None, length=6):
        self.truncate_at, self.break_at, self.length = truncate_at, break_at, length
        self.seeds = []
        self.taken = []
        self.seconds = {"total": 0.0, "actions": 0.0}

    def reset(self, seed):
        self.seeds.append(seed)
        self.t, self.cell = 0, seed % 3
        self.score = 5.0
        return self._observe(0.0)

    def step(self, action):
        if self.t == self.break_at:
            raise WorldError("the corridor collapsed")
        self.t += 1
        self.taken.append(action)
        self.cell = max(0, self.cell + {"left": -1, "right": 1, "wait": 0}[action])
        reward = float(self.cell == self.length - 1)
        self.score += reward
        return self._observe(reward)

    def close(self):
        pass

    def _observe(self, reward):
        self.seconds["total"] += 2.0
        self.seconds["actions"] += 0.5
        ended = self.cell == self.length - 1
        return Observation(
            state=State(room=f"cell {self.cell}"),
            text="a corridor",
            actions=() if ended else ("left", "right", "wait"),
            reward=reward,
            score=self.score,
            terminated=ended,
            truncated=self.truncate_at is not None and self.t >= self.truncate_at,
        )


class Dial:
    """Takes any digit, though few are listed."""

    guide = "press DIGIT"

    def read(self, written):
        return written

    def executable(self, action):
        return action.removeprefix("press ").isdecimal()


class Safe:
    """Two tasks: "press 7" opens the safe, which only a reader knows; the end has a reason."""

    name = "safe:all"
    max_score = 1.0
    reward_range = (0.0, 1.0)
    version = {"safe": "1"}  # noqa: RUF012
    seconds = {"total": 0.0, "actions": 0.0}  # noqa: RUF012
    tasks = (Task("safe:a"), Task("safe:b"))

    def __init__(self, closed=False):
        self.resets, self.closed = [], closed

    def reset(self, seed, task=None, limit=None):
        self.resets.append((seed, task, limit))
        if self.closed:
            why = "the shop is closed"
            return Observation(State(), why, (), truncated=True, reason=why)
        self.limit, self.t = limit, 0
        return self._observe(0.0)

    def step(self, action):
        self.t += 1
        return self._observe(float(action == "press 7"))

    def close(self):
        pass

    def _observe(self, reward):
        cut = self.t == self.limit and not reward
        over = bool(reward) or cut
        return Observation(
            State(room="a safe"),
            "a safe",
            () if over else ("press 1", "press 2"),
            reward=reward,
            score=reward,
            terminated=bool(reward),
            truncated=cut,
            reason="time-out: nobody came" if cut else "",
            reader=Dial(),
        )


class Telling:
    """A source that tells what it is asked."""

    def __init__(self, *actions):
        self.actions, self.situations = actions, []

    async def propose(self, situation, rng):
        self.situations.append(situation)
        candidates = tuple(Candidate(action, 0.0) for action in self.actions)
        return Scores(candidates, "prior", dict.fromkeys(executable(situation, self.actions), 0.0))


class Drawing:
    """A sampler that takes the first known action, or else the first listed one."""

    def __init__(self):
        self.modulations = []

    async def sample(self, situation, modulation, rng):
        self.modulations.append(modulation)
        action = next(iter(modulation.advantages), situation.observation.actions[0])
        shares = dict.fromkeys(modulation.advantages, 0.0) | {action: 1.0}
        return Sampled(action, shares, shares, (0.0, 0.0), 0.0, "exact")


class Always:
    """A source that proposes one action."""

    def __init__(self, action):
        self.action = action

    async def propose(self, situation, rng):
        return Scores((Candidate(self.action, 0.0),), "exact")


class Hearing(StepListener):
    """Calls a function after each step."""

    def __init__(self, listen):
        self.stepped = listen


def play(*arguments, **keywords):
    return asyncio.run(player.play(*arguments, **keywords))


RIGHT, LEFT = Always("right"), Always("left")


def stored(learner):
    return list(learner.memory.episodes())


def watch(learner, episodes, **keywords):
    """The decisions of some episodes, and what was played."""
    world, seen, played = Corridor(), [], []
    for number in range(episodes):
        played.append(
            play(
                world,
                learner,
                Prior(2),
                steps=15,
                number=number,
                listener=Hearing(lambda t, decision, after: seen.append((t, decision, after))),
                **keywords,
            )
        )
    return world, seen, played


def test_an_episode_is_played_to_its_end_and_stored():
    learner = jitrl.Learner(seed=3, provenance={"run": "r"})
    played = play(Corridor(), learner, RIGHT, steps=50, number=7, id="seventh")
    (found,) = stored(learner)
    assert (played.number, played.id, played.terminated) == (7, "seventh", True)
    assert (found.id, found.task, found.terminated) == ("seventh", "corridor:6", True)
    assert found.final_state == State(room="cell 5")
    assert (found.provenance["run"], found.provenance["number"]) == ("r", "7")
    assert played.steps == len(found.steps)
    assert [step.reward for step in found.steps] == [0.0] * (played.steps - 1) + [1.0]
    assert (played.start_score, played.score) == (5.0, 6.0)
    assert (played.kl, played.changed) == (0.0, 0)
    assert played.abstained == played.steps  # nothing was remembered yet


def test_the_id_is_that_of_the_stored_episode():
    learner = jitrl.Learner()
    played = play(Corridor(), learner, RIGHT, steps=50, number=0)
    assert [found.id for found in stored(learner)] == [played.id]


@pytest.mark.parametrize("number", [0, 1, 12])
def test_the_world_is_seeded_by_the_learners_seed_and_the_number_of_the_episode(number):
    world = Corridor()
    play(world, jitrl.Learner(seed=4), RIGHT, steps=1, number=number)
    assert world.seeds == [integer(4, number, "world")]


def test_the_proposals_are_drawn_by_seed_and_number():
    drawn = []

    class Recording(Prior):
        async def propose(self, situation, rng):
            drawn.append(rng.random())
            return await super().propose(situation, rng)

    play(Corridor(), jitrl.Learner(seed=4), Recording(), steps=2, number=9)
    rng = generator(4, 9, "proposals")
    assert drawn[0] == rng.random()


def test_the_limit_of_steps_cuts_an_episode_off():
    learner = jitrl.Learner()
    played = play(Corridor(), learner, LEFT, steps=4, number=0)
    (found,) = stored(learner)
    assert (played.steps, played.terminated) == (4, False)
    assert (len(found.steps), found.terminated, found.final_state) == (
        4,
        False,
        State(room="cell 0"),
    )


def test_a_limit_of_the_worlds_own_cuts_an_episode_off():
    learner = jitrl.Learner()
    played = play(Corridor(truncate_at=2), learner, LEFT, steps=9, number=0)
    (found,) = stored(learner)
    assert (played.steps, played.terminated) == (2, False)
    assert (len(found.steps), found.terminated) == (2, False)


def test_an_end_on_the_last_step_is_an_end():
    world = Corridor()
    world.reset(integer(0, 0, "world"))
    needed = world.length - 1 - world.cell
    played = play(Corridor(), jitrl.Learner(), RIGHT, steps=needed, number=0)
    assert (played.steps, played.terminated) == (needed, True)


def test_an_exception_of_the_world_stores_nothing():
    learner = jitrl.Learner()
    with pytest.raises(WorldError, match="collapsed"):
        play(Corridor(break_at=2), learner, LEFT, steps=9, number=0)
    assert stored(learner) == []
    play(Corridor(), learner, LEFT, steps=2, number=1)
    assert len(stored(learner)) == 1


def test_an_exception_of_the_listener_stores_nothing():
    learner = jitrl.Learner()
    with pytest.raises(KeyboardInterrupt):
        play(
            Corridor(),
            learner,
            LEFT,
            steps=9,
            number=0,
            listener=Hearing(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)),
        )
    assert stored(learner) == []


def test_the_listener_hears_of_each_step_in_order_before_the_episode_is_stored():
    learner, world = jitrl.Learner(), Corridor()
    heard = []

    def listen(t, decision, observation):
        heard.append((t, decision.action, observation.state["room"]))
        assert len(world.taken) == t + 1
        assert stored(learner) == []

    play(world, learner, Prior(), steps=6, number=0, listener=Hearing(listen))
    (found,) = stored(learner)
    assert [t for t, *_ in heard] == list(range(len(found.steps)))
    assert (
        [action for _, action, _ in heard] == [step.action for step in found.steps] == world.taken
    )
    rooms = [step.state["room"] for step in found.steps[1:]] + [found.final_state["room"]]
    assert [room for *_, room in heard] == rooms


def test_what_was_played_adds_up_what_was_decided():
    learner = jitrl.Learner(seed=1, beta=20.0)
    _, seen, played = watch(learner, 30)
    assert sum(one.steps for one in played) == len(seen)
    assert sum(one.kl for one in played) == pytest.approx(sum(d.kl for _, d, _ in seen))
    assert sum(one.changed for one in played) == sum(d.changed for _, d, _ in seen) > 0
    assert sum(one.abstained for one in played) == sum(d.abstained for _, d, _ in seen)
    assert [one.id for one in played] == [found.id for found in stored(learner)]


def test_remembered_actions_join_where_the_source_says_that_they_are_valid():
    _, seen, _ = watch(jitrl.Learner(seed=1), 30)
    joined = [decision for _, decision, _ in seen if decision.joined]
    assert joined
    for decision in joined:  # all valid actions have the same base log-probability
        assert len({round(p, 12) for p in decision.before.values()}) == 1


def test_seconds_are_those_of_the_clock_that_was_given():
    world, ticks = Corridor(), count(100.0)
    world.seconds = {"total": 40.0, "actions": 30.0}  # of earlier episodes
    played = play(world, jitrl.Learner(), LEFT, steps=3, number=0, clock=lambda: next(ticks))
    assert played.seconds == {
        "total": 29.0,  # every block of the learner and of the model reads the clock twice
        "world": 8.0,  # a reset and three steps of two seconds
        "actions": 2.0,
        "learner": 11.0,  # beginning, storing; what is remembered, choosing, recording at each step
        "model": 3.0,  # proposing
    }


def test_an_episode_that_is_over_before_it_begins_takes_no_step():
    learner = jitrl.Learner()
    played = play(Corridor(length=1 + integer(0, 0, "world") % 3), learner, LEFT, steps=5, number=0)
    assert (played.steps, played.terminated, played.kl) == (0, True, 0.0)
    assert stored(learner) == []


@pytest.mark.parametrize("bad", [{"steps": 0}, {"steps": -1}, {"number": -1}, {"number": 0.5}])
def test_counts_that_make_no_sense_are_named(bad):
    learner = jitrl.Learner()
    with pytest.raises(JitrlError, match=next(iter(bad))) as caught:
        play(Corridor(), learner, RIGHT, **({"steps": 5, "number": 0} | bad))
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert stored(learner) == []


@pytest.mark.parametrize("preset", sorted(jitrl.PRESETS))
def test_static_is_a_run_at_beta_0_bit_for_bit(preset):
    static, idle = (
        watch(jitrl.Learner(preset=preset, seed=2, **keywords), 12)
        for keywords in ({"frozen": True}, {"beta": 0.0})
    )
    assert static[0].taken == idle[0].taken
    assert static[0].seeds == idle[0].seeds
    for (_, one, _), (_, other, _) in zip(static[1], idle[1], strict=True):
        assert repr(one.before) == repr(other.before)
        assert one.action == other.action
        if preset in ("default", "paper"):
            assert repr(one.after) == repr(other.after) == repr(one.before)
            assert one.kl == other.kl == 0.0
            assert not (one.changed or other.changed)


def test_the_same_seed_plays_the_same_episodes_in_any_order_of_interruption(tmp_path):
    def run(path, reopen):
        world, actions = Corridor(), []
        learner = jitrl.Learner(path, seed=6)
        for number in range(10):
            if reopen:
                learner.close()
                learner = jitrl.Learner(path, seed=6)
            play(world, learner, Prior(), steps=12, number=number)
        actions = [[step.action for step in found.steps] for found in stored(learner)]
        learner.close()
        return actions, world.seeds

    assert run(tmp_path / "a.db", False) == run(tmp_path / "b.db", True)


def test_an_agent_learns_the_way():
    def steps_at_the_end(**keywords):
        _, _, played = watch(jitrl.Learner(seed=0, **keywords), 40)
        return sum(one.steps for one in played[20:])

    assert steps_at_the_end() < 0.8 * steps_at_the_end(frozen=True)


def test_an_attempt_is_at_the_task_that_is_named_and_knows_how_many_steps_there_are():
    world, learner, source = Safe(), jitrl.Learner(seed=4), Telling("press 7")
    played = play(world, learner, source, steps=9, number=3, task="safe:b")
    assert world.resets == [(integer(4, 3, "world"), "safe:b", 9)]
    assert (played.task, played.reason, played.success) == ("safe:b", "", True)
    assert [found.task for found in stored(learner)] == ["safe:b"]
    assert {asked.task for asked in source.situations} == {"safe:b"}


def test_an_attempt_is_at_the_first_task_by_default():
    world = Safe()
    assert play(world, jitrl.Learner(), Telling("press 1"), steps=1, number=0).task == "safe:a"
    assert world.resets[0][1] == "safe:a"


def test_why_an_attempt_ended_is_kept():
    played = play(Safe(), jitrl.Learner(), Telling("press 1"), steps=2, number=0)
    assert (played.steps, played.terminated, played.success) == (2, False, False)
    assert played.reason == "time-out: nobody came"


def test_an_attempt_that_may_not_go_on_is_not_stored():
    learner, asked = jitrl.Learner(), iter([True, True, False])
    played = play(
        Safe(), learner, Telling("press 1"), steps=9, number=0, may_go_on=lambda: next(asked)
    )
    assert (played.steps, played.stopped) == (2, True)
    assert stored(learner) == []


def test_an_attempt_that_is_cut_off_at_its_reset_never_began():
    learner, source = jitrl.Learner(), Telling("press 1")
    played = play(Safe(closed=True), learner, source, steps=9, number=0)
    assert (played.unbegun, played.steps, played.reason) == (True, 0, "the shop is closed")
    assert (stored(learner), source.situations) == ([], [])
    assert not play(Safe(), learner, source, steps=1, number=1).unbegun


def test_a_world_without_tasks_knows_none():
    with pytest.raises(InvalidValue, match="has no tasks"):
        play(Corridor(), jitrl.Learner(), RIGHT, steps=1, number=0, task="safe:a")


def test_a_remembered_action_that_only_the_reader_knows_may_join():
    learner = jitrl.Learner(seed=1)
    for number in range(3):
        play(Safe(), learner, Telling("press 7"), steps=2, number=number)
    listener = Hearing(lambda t, decision, after: seen.append(decision))
    seen = []
    play(Safe(), learner, Telling("press 1", "press 2"), steps=1, number=4, listener=listener)
    assert seen[0].joined == ("press 7",)
    assert (seen[0].values["press 7"].Q, seen[0].values["press 7"].n) == (1.0, 3)


@pytest.mark.parametrize("source", [Telling, Drawing])
def test_what_cannot_be_executed_takes_no_part_in_the_statistics(source):
    learner = jitrl.Learner(seed=1)
    for number, action in enumerate(("press 7", "dance", "dance", "press 7")):
        play(Safe(), learner, Telling(action), steps=1, number=number)
    seen = []
    listener = Hearing(lambda t, decision, after: seen.append(decision))
    chooses = Drawing() if source is Drawing else Telling("press 1", "press 2")
    play(Safe(), learner, chooses, steps=1, number=4, listener=listener)
    (decision,) = seen
    assert {near.action for near in decision.neighbours} == {"press 7"}
    assert "dance" not in decision.values.actions
    assert decision.values.V == 1.0  # not halved by what could not be done
    if source is Drawing:
        assert list(chooses.modulations[0].advantages) == ["press 7"]
