"""An episode under way: what was chosen, what it earned, and how it is stored."""

from __future__ import annotations

import logging
import math
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from jitrl._version import __version__
from jitrl.checks import LARGEST, finite, text, texts
from jitrl.checks import scores as checked_scores
from jitrl.decide import Draws, Scorer, decide, decided, modulate, remembered
from jitrl.errors import EpisodeError, InvalidValue
from jitrl.memory import View
from jitrl.presets import Preset, at
from jitrl.records import (
    Candidate,
    Decision,
    Episode,
    Experience,
    Modulation,
    Scores,
    State,
    Step,
)
from jitrl.scores import Sampled
from jitrl.seeds import generator

log = logging.getLogger(__name__)


class Owner(Protocol):
    """What an episode needs of its learner."""

    preset: Preset
    seed: int
    reward_range: tuple[float, float] | None

    def neighbours(self, state: State, t: int, view: View) -> list[Experience]:
        """Return the neighbours of `state` at step t, as the view shows the memory."""

    def redacted(self, state: State) -> State:
        """Return the state without secrets."""

    def store(self, episode: Episode) -> None:
        """Append a finished episode to the memory."""

    def now(self) -> str:
        """Return the time."""


class LiveEpisode:
    """An episode under way: choose, act, record, and so on. Not for use by several threads at once.

    It is stored when the block is left normally, or by `close()`: whole, durably, or not at all.
    """

    def __init__(
        self,
        learner: Owner,
        *,
        task: str,
        number: int,
        id: str,
        provenance: Mapping[str, str],
        view: View,
    ) -> None:
        self.learner = learner
        self.task = task
        self.number = number
        self.id = id
        self.terminated = False
        self._provenance = dict(provenance)
        self._view = view
        self._steps: list[Step] = []
        self._pending: Decision | None = None
        self._found: tuple[State, list[Experience]] | None = None
        self._modulation: Modulation | None = None
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
        state, neighbours = self._neighbours("choose", state)
        scores = _scores(candidates)
        decision = decide(
            state, scores, neighbours, self.learner.preset, self._beta, self._draws, score
        )
        return self._decided(decision)

    def remembered(self, state: State) -> tuple[str, ...]:
        """Return the actions that may join the candidates in `state` (Eq. 23), nearest first.

        For a source that scores everything at once: what it says of them goes into
        `Scores.remembered`. Empty where the memory cannot move the policy. Raises as `choose`.
        """
        state, neighbours = self._neighbours("remembered", state)
        return remembered(neighbours, self.learner.preset, self._beta)

    def modulation(self, state: State, executable: Collection[str] | None = None) -> Modulation:
        """Return what the memory adds to the logits in `state`, for a model that draws by itself.

        executable  the actions that can be taken here, None where nobody knows

        `sampled` says what was drawn. Raises as `choose`, and InvalidValue for a greedy preset.
        """
        state, neighbours = self._neighbours("modulation", state)
        self._modulation = modulate(
            state, neighbours, self.learner.preset, self._beta, self._draws, executable
        )
        return self._modulation

    def sampled(self, modulation: Modulation, drawn: Sampled) -> Decision:
        """Return the decision that a model drew under a modulation of this step; then `record`.

        Raises InvalidValue for what cannot have been drawn so, EpisodeError as `choose` does, or
        where the modulation is not the last of this step. A failed call changes nothing.
        """
        self._may_choose("sampled")
        if self._modulation is None or modulation is not self._modulation:
            raise EpisodeError("the modulation is not the last of this step: call modulation()")
        return self._decided(decided(modulation, _drawn(drawn, modulation.beta), self._draws))

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

    def judged(
        self, scores: Sequence[float | None], provenance: Mapping[str, str] | None = None
    ) -> None:
        """Keep the scores that a judge gave the recorded steps, beside their rewards.

        scores      one for each recorded step, None for a step without one
        provenance  name -> text: who judged; stored with the episode if there is a score

        Call it when all steps are recorded. Raises InvalidValue for a wrong argument, EpisodeError
        where a choice waits for its reward, or the steps are judged already.
        """
        self._open("judged")
        if self._pending is not None:
            raise EpisodeError("judged() comes after the last step: call record() first")
        if any(step.judged is not None for step in self._steps):
            raise EpisodeError("the steps are judged already: a score is never overwritten")
        checked = checked_scores(scores, len(self._steps))
        by = texts("provenance", provenance or {})
        if any(score is not None for score in checked):
            pairs = zip(self._steps, checked, strict=True)
            self._steps = [replace(step, judged=score) for step, score in pairs]
            self._provenance |= by

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

    @property
    def _beta(self) -> float:
        return at(self.learner.preset.beta, self.number)

    def _neighbours(self, call: str, state: State) -> tuple[State, list[Experience]]:
        """Return the state, checked, with its task, without secrets, and its neighbours."""
        self._may_choose(call)
        state = with_task(_state("state", state), self.task, self.learner.preset)
        state = self.learner.redacted(state)
        if self._found is None or self._found[0] != state:
            self._found = (state, self.learner.neighbours(state, len(self._steps), self._view))
        return self._found

    def _decided(self, decision: Decision) -> Decision:
        if self._closed or self._pending is not None:
            raise EpisodeError("score() used the episode it was called from: let it only score")
        self._found = None
        self._modulation = None
        self._pending = replace(  # what is stored is ours, whatever becomes of the caller's
            decision, before=dict(decision.before), after=dict(decision.after)
        )
        return decision

    def _may_choose(self, call: str) -> None:
        self._open(call)
        if self._pending is not None:
            raise EpisodeError(
                f"the choice of {self._pending.action!r} waits for its reward: call record() first"
            )
        if self.terminated:
            raise EpisodeError("the world has ended: begin a new episode")

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


def with_task(state: State, task: str, preset: Preset) -> State:
    """Return the state with the task where the preset compares tasks and the state names none."""
    if "task" in state or all(field.name != "task" for field in preset.fields):
        return state
    return State(**state, task=task)


def _scores(candidates: Sequence[Candidate] | Scores) -> Scores:
    """Return the candidates as Scores, checked."""
    listed = candidates.candidates if isinstance(candidates, Scores) else candidates
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
    if not isinstance(candidates, Scores):
        return Scores(tuple(checked.values()), "given")
    return replace(candidates, candidates=tuple(checked.values()))


def _drawn(drawn: Sampled, most: float) -> Sampled:
    """Return what was drawn, checked; `most` is the largest step that was allowed."""
    if not isinstance(drawn, Sampled):
        raise InvalidValue("drawn", drawn, "must be a jitrl.scores.Sampled")
    if not text("action", drawn.action):
        raise InvalidValue("action", drawn.action, "must not be empty")
    if drawn.before.keys() != drawn.after.keys() or drawn.action not in drawn.after:
        raise InvalidValue(
            "after", list(drawn.after), "must list what `before` does, and the drawn"
        )
    for name, part, rest in (
        ("before", drawn.before, drawn.outside[0]),
        ("after", drawn.after, drawn.outside[1]),
    ):
        total = math.fsum([*(finite(f"{name} {a!r}", p) for a, p in part.items()), rest])
        if min([*part.values(), rest]) < 0 or not math.isclose(total, 1.0, abs_tol=1e-6):
            raise InvalidValue(name, dict(part), f"must be probabilities, {rest} for the rest")
    for name, part in (("before", drawn.before), ("after", drawn.after)):
        if not part[drawn.action] > 0:
            raise InvalidValue(name, dict(part), f"must give {drawn.action!r} a probability > 0")
    if not (math.isnan(drawn.unlisted) or 0 <= drawn.unlisted <= 1):
        raise InvalidValue("unlisted", drawn.unlisted, "must lie in [0, 1], or be nan")
    if not 0 <= finite("beta", drawn.beta) <= most:
        raise InvalidValue("beta", drawn.beta, f"must lie in [0, {most}], the step of modulation()")
    return drawn


def _state(name: str, state: object) -> State:
    if not isinstance(state, State):
        raise InvalidValue(name, state, "must be a jitrl.State")
    for field, value in state.items():
        text(f"field {field!r} of the state", value)
    return state
