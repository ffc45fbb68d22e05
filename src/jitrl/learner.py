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
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Self

import numpy as np

from jitrl import released, update
from jitrl.checks import count, interval, text, texts
from jitrl.credit import Credit, Signal
from jitrl.errors import InvalidValue
from jitrl.live import LiveEpisode
from jitrl.memory import Cut, Index, Memory, View
from jitrl.memory import open as open_memory
from jitrl.memory.redaction import DEFAULT, Redaction
from jitrl.memory.sql.sqlite import Durability
from jitrl.presets import Preset, at
from jitrl.presets import preset as find_preset
from jitrl.records import Episode, Experience, State

__all__ = ["Learner", "LiveEpisode"]

log = logging.getLogger(__name__)


class Learner:
    """Chooses actions with the help of a memory, and remembers what came of them.

    memory        path of the memory (created if it is missing), postgresql://user@host/database,
                  None for one in RAM, or a Memory
    preset        "default", "paper", "released", "released-web", or a Preset
    seed          integer >= 0: fixes every random draw, with the number of the episode; processes
                  that share a memory should have different ones
    frozen        read the memory, never write it
    durability    "process" or "power": what acknowledged episodes survive
    reward_range  (lowest, highest) reward of a step; a reward outside is refused, and
                  remembered ones are clipped to it
    return_range  (lowest, highest) return: remembered ones are clipped to it
    credit        what returns are made of: the "reward" of a step, the score that a judge gave it
                  ("judged"), or "mixed": reward + judge_weight * score. But for "reward", a step
                  without a score is left out: it is no evidence, and counts in nobody's return
    judge_weight  in [0, 1e6], for "mixed"
    judged_range  (lowest, highest) score: remembered ones are clipped to it
    provenance    name -> text, stored with every episode: world, model, run ...; a learner that is
                  given no run is one of its own
    redaction     takes secrets out of states before they are compared, and out of episodes before
                  they are stored; None for nothing. A Memory brings its own (`Memory.redaction`)
    clock         seconds since the epoch, for the time stored with an episode
    overrides     hyper-parameters of the preset by name: beta=, gamma=, k=, kl_budget=, fields= ...

    Raises UnknownName or InvalidValue for a wrong argument, NotAMemory, NewerMemory or
    MemoryUnavailable where the memory cannot be opened. Episodes may be open at once from several
    threads or tasks; each one sees the memory as it was when it began. Scores that are filled in
    later (`Memory.judge`) count from the next `episode()`, as does whatever else others change.
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
        return_range: tuple[float, float] | None = None,
        credit: Signal = "reward",
        judge_weight: float = 1.0,
        judged_range: tuple[float, float] | None = None,
        provenance: Mapping[str, str] | None = None,
        redaction: Redaction | None = DEFAULT,
        clock: Callable[[], float] = time.time,
        **overrides: object,
    ) -> None:
        self.preset = find_preset(preset, **overrides)
        self.seed = count("seed", seed)
        self.frozen = frozen
        self.reward_range = None if reward_range is None else interval("reward_range", reward_range)
        self.return_range = None if return_range is None else interval("return_range", return_range)
        self.credit = Credit(credit, judge_weight, self.reward_range, judged_range)
        self.provenance = {"run": uuid.uuid4().hex} | texts("provenance", provenance or {})
        self._clock = clock
        self.now()  # a clock that cannot be read is found out before an episode is played
        self._owned = memory is None or isinstance(memory, str | os.PathLike)
        if memory is None or isinstance(memory, str | os.PathLike):
            readonly = frozen and memory is not None
            memory = open_memory(
                memory, durability=durability, readonly=readonly, redaction=redaction
            )
        elif not callable(getattr(memory, "changes", None)):
            raise InvalidValue("memory", memory, "must be a path, None, or a jitrl.memory.Memory")
        elif redaction not in (DEFAULT, memory.redaction):
            raise InvalidValue("redaction", redaction, "must be left out: the Memory has its own")
        self.memory: Memory = memory
        self._lock = threading.RLock()
        self._index = Index(self.memory, self.preset.fields, self.returns)
        try:
            self._index.refresh()
        except BaseException:
            self.close()
            raise
        self._next = self._index.episodes

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
        if self.memory.redaction is not None:
            self.memory.redaction.id(id)
        provenance = self.provenance | texts("provenance", provenance or {})
        with self._lock:
            view = self._index.refresh()
            number = self._next if number is None else count("number", number)
            self._next = max(self._next, number + 1)
        return LiveEpisode(self, task=task, number=number, id=id, provenance=provenance, view=view)

    def close(self) -> None:
        """Save the index; close the memory, if this learner opened it. Twice is harmless."""
        self._index.close()
        if self._owned:
            self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def neighbours(self, state: State, t: int, view: View) -> list[Experience]:
        """Return the neighbours of `state` at step t of an episode that began with this view."""
        preset = self.preset
        cut = Cut(
            threshold=at(preset.threshold, t),
            k=preset.k,
            counts=preset.k_counts,
            keep_above=preset.keep_above,
            per_action=preset.per_action,
        )
        return view.neighbours(state, cut)

    def retrieve(self, state: State, t: int = 0) -> list[Experience]:
        """Return what would be retrieved in `state` at step t of an episode that began now."""
        return self.neighbours(self.redacted(state), t, self._index.refresh())

    def redacted(self, state: State) -> State:
        """Return the state as it would be stored: so looks what is remembered of it."""
        redaction = self.memory.redaction
        return state if redaction is None else redaction.state(state)

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

    def returns(self, rewards: update.Floats, judged: update.Floats) -> update.Floats:
        """Return the return of each step of an episode (Eq. 3); nan for one without a signal.

        rewards, judged  of each step, nan for none, shape (T,); the result has this shape too
        """
        rule = released.returns if self.preset.zero_future == "repeats" else update.returns
        signals = self.credit.signals(rewards, judged)
        found = ~np.isnan(signals)
        result = np.full(len(signals), np.nan)
        result[found] = rule(signals[found].tolist(), gamma=self.preset.gamma)
        return result if self.return_range is None else np.clip(result, *self.return_range)
