"""The in-process way in: a learner for somebody who owns an agent loop.

learner = jitrl.Learner(memory="zork.db")
with learner.episode(task="zork1") as episode:
    while not done:
        decision = episode.choose(state, candidates)
        observation, reward, done = env.step(decision.action)
        episode.record(reward, terminated=done)
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np

from jitrl import released, update
from jitrl._version import __version__
from jitrl.checks import LARGEST, count, finite, text
from jitrl.decide import Draws, Scorer, decide
from jitrl.errors import EpisodeError, InvalidValue
from jitrl.memory import Cut, Index, Memory, SqliteMemory
from jitrl.memory.sqlite import Durability
from jitrl.presets import Preset, Ramp
from jitrl.presets import preset as find_preset
from jitrl.records import Candidate, Decision, Episode, Experience, Scores, State, Step
from jitrl.seeds import generator

log = logging.getLogger(__name__)


class Learner:
    """Chooses actions with the help of a memory, and remembers what came of them.

    memory        path of the memory (created if it is missing), None for one in RAM, or a Memory
    preset        "default", "paper", "released", "released-web", or a Preset
    seed          integer >= 0: fixes every random draw, with the number of the episode; processes
                  that share a memory should have different ones
    frozen        read the memory, never write it
    durability    "process" or "power": what acknowledged episodes survive
    reward_range  (lowest, highest) reward of a step; a reward outside is refused, and
                  remembered ones are clipped to it
    provenance    name -> text, stored with every episode: world, model, run ...
    clock         seconds since the epoch, for the time stored with an episode
    overrides     hyper-parameters of the preset by name: beta=, gamma=, k=, kl_budget=, fields= ...

    Raises UnknownName or InvalidValue for a wrong argument, NotAMemory, NewerMemory or
    MemoryUnavailable where the memory cannot be opened. Episodes may be open at once from several
    threads or tasks; each one sees the memory as it was when it began.
    """

    def __init__(
        self,
        memory: str | os.PathLike[str] | Memory | None = None,
        preset: str | Preset = "default",
        *,
        seed: int = 0,
        frozen: bool = False,
        durability: Durability = "process",
        reward_range: tuple[float, float] | None = None,
        provenance: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
        **overrides: object,
    ) -> None:
        self.preset = find_preset(preset, **overrides)
        self.seed = count("seed", seed)
        self.frozen = frozen
        self.reward_range = None if reward_range is None else _range(reward_range)
        self.provenance = _texts("provenance", provenance or {})
        self._clock = clock
        self.now()  # a clock that cannot be read is found out before an episode is played
        self._owned = memory is None or isinstance(memory, str | os.PathLike)
        if memory is None or isinstance(memory, str | os.PathLike):
            readonly = frozen and memory is not None
            memory = SqliteMemory(memory, durability=durability, readonly=readonly)
        elif not callable(getattr(memory, "episodes", None)):
            raise InvalidValue("memory", memory, "must be a path, None, or a jitrl.memory.Memory")
        self.memory: Memory = memory
        self._lock = threading.RLock()
        self._index = Index(self.preset.fields, self._returns_rule())
        self._read = 0
        self._refresh()
        self._next = self._read

    def episode(
        self,
        task: str = "",
        *,
        number: int | None = None,
        id: str | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> LiveEpisode:
        """Begin an episode; use it as a context manager, or call its `close()` at the end.

        task        what is attempted, in words; kept as provenance
        number      which episode this is, >= 0: selects its random draws; by default it counts on
                    from the episodes in the memory
        id          names the stored episode; by default a new UUID
        provenance  name -> text, added to the learner's
        """
        task = text("task", task)
        id = uuid.uuid4().hex if id is None else text("id", id)
        provenance = self.provenance | _texts("provenance", provenance or {})
        with self._lock:
            self._refresh()
            number = self._next if number is None else count("number", number)
            self._next = max(self._next, number + 1)
            seen = len(self._index)
        return LiveEpisode(self, task=task, number=number, id=id, provenance=provenance, seen=seen)

    def close(self) -> None:
        """Close the memory, if this learner opened it; calling it twice is harmless."""
        if self._owned:
            self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def neighbours(self, state: State, t: int, seen: int) -> list[Experience]:
        """Return the neighbours of `state` at step t of an episode, among the first `seen`."""
        preset = self.preset
        threshold = preset.threshold
        cut = Cut(
            threshold=threshold.at(t) if isinstance(threshold, Ramp) else threshold,
            k=preset.k,
            counts=preset.k_counts,
            keep_above=preset.keep_above,
        )
        return self._index.neighbours(state, cut, seen)

    def store(self, episode: Episode) -> None:
        """Append an episode to the memory, unless it is frozen; durable on return."""
        if not self.frozen and not self.memory.append(episode):
            log.warning("episode %s is not stored: one with its id is there", episode.id)

    def now(self) -> str:
        """Return the time of the learner's clock, ISO 8601 in UTC."""
        try:
            moment = datetime.fromtimestamp(self._clock(), UTC)
        except (TypeError, ValueError, OverflowError, OSError) as error:
            raise InvalidValue("clock", self._clock, "must return seconds since 1970") from error
        return moment.isoformat(timespec="milliseconds")

    def _refresh(self) -> None:
        """Index the episodes that were stored, by anybody, since the last look."""
        with self._lock:
            for episode in self.memory.episodes(after=self._read):
                self._index.add([episode])
                self._read += 1

    def _returns_rule(self) -> Callable[[Sequence[float]], update.Floats]:
        rule = released.returns if self.preset.zero_future == "repeats" else update.returns
        plain = partial(rule, gamma=self.preset.gamma)
        if self.reward_range is None:
            return plain
        low, high = self.reward_range
        return lambda rewards: plain([min(max(reward, low), high) for reward in rewards])


class LiveEpisode:
    """An episode under way: choose, act, record, and so on. Not for use by several threads at once.

    It is stored when the block is left normally, or by `close()`: whole, durably, or not at all.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        task: str,
        number: int,
        id: str,
        provenance: Mapping[str, str],
        seen: int,
    ) -> None:
        self.learner = learner
        self.task = task
        self.number = number
        self.id = id
        self.terminated = False
        self._provenance = provenance
        self._seen = seen
        self._steps: list[Step] = []
        self._pending: Decision | None = None
        self._final_state: State | None = None
        self._closed = False
        self._draws = Draws(
            choose=generator(learner.seed, number, "choose"),
            explore=generator(learner.seed, number, "explore"),
        )

    def choose(
        self,
        state: State,
        candidates: Sequence[Candidate] | Scores,
        score: Scorer | None = None,
    ) -> Decision:
        """Return a decision: which of the candidates to take, and why.

        state       the abstract state; where the preset's fields name `task` and the state does
                    not, the task of the episode is filled in
        candidates  at least one, none twice; log-probabilities are finite reals, up to a common
                    constant
        score       called once with the remembered actions that are not among the candidates, if
                    there are any, to let them join: returns their log-probabilities on the scale
                    of the candidates'; None or no entry for what cannot be executed here

        Raises InvalidValue for a wrong argument, EpisodeError where the last choice still waits for
        its reward, or the episode is over. A failed call leaves the episode as it was.
        """
        self._open("choose")
        if self._pending is not None:
            raise EpisodeError(
                f"the choice of {self._pending.action!r} waits for its reward: call record() first"
            )
        if self.terminated:
            raise EpisodeError("the world has ended: begin a new episode")
        preset = self.learner.preset
        state = _state("state", state)
        if "task" not in state and any(field.name == "task" for field in preset.fields):
            state = State(**state, task=self.task)
        t = len(self._steps)
        beta = preset.beta.at(self.number) if isinstance(preset.beta, Ramp) else preset.beta
        neighbours = self.learner.neighbours(state, t, self._seen)
        decision = decide(state, _scores(candidates), neighbours, preset, beta, self._draws, score)
        if self._closed or self._pending is not None:
            raise EpisodeError("score() used the episode it was called from: let it only score")
        self._pending = replace(  # what is stored is ours, whatever becomes of the caller's
            decision, before=dict(decision.before), after=dict(decision.after)
        )
        return decision

    def record(self, reward: float, terminated: bool = False, state: State | None = None) -> None:
        """Record what the chosen action earned.

        reward      finite, within the learner's reward range
        terminated  the world ended with this step, so that there is no future to miss
        state       the state that the action led to, where it is known: kept if it is the last

        Raises InvalidValue, or EpisodeError where nothing was chosen.
        """
        self._open("record")
        if self._pending is None:
            raise EpisodeError("no choice waits for a reward: call choose() first")
        reward = self._reward(reward)
        if not isinstance(terminated, bool | np.bool_):
            raise InvalidValue("terminated", terminated, "must be True or False")
        final = None if state is None else _state("state", state)
        decision, self._pending = self._pending, None
        self._steps.append(
            Step(
                state=decision.state,
                action=decision.action,
                reward=reward,
                behaviour_logprob=decision.behaviour_logprob,
                before=decision.before,
                after=decision.after,
                changed=decision.changed,
                preset=self.learner.preset.name,
                seed=self.learner.seed,
            )
        )
        self._final_state = final
        self.terminated = bool(terminated)

    def outcome(self, reward: float) -> None:
        """Add a reward that is known only at the end to the last recorded step.

        Raises InvalidValue, or EpisodeError where no step is recorded yet.
        """
        self._open("outcome")
        if self._pending is not None or not self._steps:
            raise EpisodeError("an outcome belongs to a recorded step: call record() first")
        total = self._reward(self._steps[-1].reward + self._reward(reward))
        self._steps[-1] = replace(self._steps[-1], reward=total)

    def close(self) -> None:
        """Store the episode; calling it again does nothing, unless storing failed.

        An episode without steps, or with a choice that was never recorded, stores nothing.
        """
        if self._closed:
            return
        if self._pending is not None:
            log.warning(
                "episode %s is not stored: the choice of %r was never recorded",
                self.id,
                self._pending.action,
            )
        elif self._steps:
            self.learner.store(self._as_stored())
        self._closed = True

    def abandon(self) -> None:
        """End the episode and store nothing."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _open(self, call: str) -> None:
        if self._closed:
            raise EpisodeError(f"{call}() on an episode that is closed: begin a new one")

    def _reward(self, reward: object) -> float:
        value = finite("reward", reward, LARGEST)
        allowed = self.learner.reward_range
        if allowed is not None and not allowed[0] <= value <= allowed[1]:
            raise InvalidValue("reward", value, f"must lie in the reward_range {allowed}")
        return value

    def _as_stored(self) -> Episode:
        versions = {
            "created": self.learner.now(),
            "jitrl": __version__,
            "python": platform.python_version(),
            "number": str(self.number),
        }
        return Episode(
            id=self.id,
            task=self.task,
            steps=tuple(self._steps),
            terminated=self.terminated,
            final_state=self._final_state,
            provenance={**self._provenance, **versions},
        )


def _scores(candidates: Sequence[Candidate] | Scores) -> Scores:
    """Return the candidates as Scores, checked."""
    listed = candidates.candidates if isinstance(candidates, Scores) else candidates
    guarantee = candidates.guarantee if isinstance(candidates, Scores) else "given"
    try:
        given = tuple(listed)
    except TypeError as error:
        raise InvalidValue("candidates", listed, "must hold jitrl.Candidate objects") from error
    if not given:
        raise InvalidValue("candidates", list(given), "must hold at least one candidate")
    checked: dict[str, Candidate] = {}
    for candidate in given:
        if not isinstance(candidate, Candidate):
            raise InvalidValue("candidates", candidate, "must hold jitrl.Candidate objects")
        action = text("action", candidate.action)
        if not action:
            raise InvalidValue("action", action, "must not be empty")
        if action in checked:
            raise InvalidValue("candidates", action, "must name each action once")
        logprob = finite(f"log-probability of {action!r}", candidate.logprob)
        checked[action] = Candidate(action, logprob)
    return Scores(tuple(checked.values()), guarantee)


def _state(name: str, state: object) -> State:
    if not isinstance(state, State):
        raise InvalidValue(name, state, "must be a jitrl.State")
    for field, value in state.items():
        text(f"field {field!r} of the state", value)
    return state


def _texts(name: str, given: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise InvalidValue(name, given, "must be a mapping from name to text")
    return {text(name, key): text(f"{name} {key!r}", value) for key, value in given.items()}


def _range(given: object) -> tuple[float, float]:
    rule = "must be two finite numbers, the lower one first"
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InvalidValue("reward_range", given, rule)
    low, high = (finite("reward_range", end) for end in given)
    if not low < high:
        raise InvalidValue("reward_range", given, rule)
    return low, high
