"""The nouns of jitrl: frozen records without behaviour, but for how they print.

    Observation   what a world shows: its state, its text, the actions it accepts
    State         a few named text fields
    Situation     all that a policy may look at when it decides: the episode so far
    Candidate     an action with its base log-probability
    Scores        candidates, and how far their log-probabilities can be trusted
    Modulation    what the memory adds to the logits of a state
    Decision      what was chosen, and all that is needed to see why
    Step          one decision and its reward, as stored
    Episode       steps in order, as stored: whole or not at all
    Experience    a remembered step as evidence: state, action, return, similarity

Values are checked where they enter (`jitrl.learner`), not here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

Guarantee = Literal["exact", "bounded", "sampled", "stated", "prior", "given"]
"""What a base log-probability is worth.

exact    the model's own probability of that action
bounded  exact up to a stated probability mass outside the candidates
sampled  a frequency among n samples
stated   a confidence that the model wrote down
prior    no model: a fixed distribution
given    the caller's word (candidates passed to `choose` as they are)
"""


class State(Mapping[str, str]):
    """A state s as named text fields: `State(room="Kitchen", inventory="lamp")`.

    Read it as a mapping from field name to text. Order does not matter; equal fields, equal states.

    >>> State(room="Kitchen", inventory="lamp") == State(inventory="lamp", room="Kitchen")
    True
    """

    __slots__ = ("_fields",)

    def __init__(self, /, **fields: str) -> None:
        self._fields = {name: fields[name] for name in sorted(fields)}

    def __getitem__(self, name: str) -> str:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __hash__(self) -> int:
        return hash(tuple(self._fields.items()))

    def __repr__(self) -> str:
        return f"State({', '.join(f'{name}={text!r}' for name, text in self._fields.items())})"


class ActionReader(Protocol):
    """The actions of one moment in a world that takes more than it lists, such as a web page."""

    @property
    def guide(self) -> str:
        """How actions are written here, for a model."""

    def read(self, written: str) -> str:
        """Return what was written as the action that is taken and remembered.

        Raises InvalidValue, which says what is wrong, for what cannot be read or executed here.
        """

    def executable(self, action: str) -> bool:
        """Say whether an action, as `read` returns it, can be executed here."""

    def written(self, action: str) -> str:
        """Return an action, as `read` returns it, as an agent writes it here.

        Equal texts are one and the same act. Raises InvalidValue for what cannot be executed here.
        """


@dataclass(frozen=True, slots=True)
class Observation:
    """What a world shows after a reset or a step.

    state       the abstract state phi(s)
    text        what the world printed
    actions     every action that is valid here, without repetition; empty once the world has ended,
                and only then. With a `reader` they are those that can be had without a model
    reward      of the step just taken: the change of the score; 0.0 after a reset
    score       the world's own running score, which may start above 0
    terminated  the world ended: won, lost, dead
    truncated   cut off by a limit of the world's own: the state has a future that nobody saw
    reason      what went wrong, where something did: why the step did nothing, or the world ended
    reader      reads actions beyond those listed; None where there are none
    weights     how likely each of `actions` is for somebody without a model, in their order, > 0;
                empty: all alike
    image       what it looks like, PNG; None where nobody asked for it
    """

    state: State
    text: str
    actions: tuple[str, ...]
    reward: float = 0.0
    score: float = 0.0
    terminated: bool = False
    truncated: bool = False
    reason: str = ""
    reader: ActionReader | None = None
    weights: tuple[float, ...] = ()
    image: bytes | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One step of the episode at hand: what was done where, and what came of it."""

    before: Observation
    action: str
    after: Observation


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a policy may look at when it decides.

    task         what is attempted, in words
    episode, t   number of the episode, and of the step in it, from 0
    observation  what the world shows now
    turns        the episode so far, oldest first
    remembered   actions taken in similar states: to be scored if they can be executed, and not to
                 be shown to a model as something remembered
    advice       what a model is told of earlier episodes; none but for baselines that learn so
    """

    task: str
    episode: int
    t: int
    observation: Observation
    turns: tuple[Turn, ...] = ()
    remembered: tuple[str, ...] = ()
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An action and its base log-probability: any finite real, up to a constant common to all."""

    action: str
    logprob: float = 0.0


@dataclass(frozen=True, slots=True)
class Scores:
    """Candidates of one decision, with what their log-probabilities are worth.

    remembered  action -> log-probability, on the scale of the candidates', of remembered actions
                that can be executed here; None where nobody scored any
    outside     probability that the model gives to what is no candidate; nan where unknown
    samples     how many samples a "sampled" frequency rests on, 0 otherwise
    unscored    remembered actions that can be executed here, but that the model did not score:
                they stay out, unless the preset's `join` gives them a log-probability
    """

    candidates: tuple[Candidate, ...]
    guarantee: Guarantee
    remembered: Mapping[str, float] | None = None
    outside: float = math.nan
    samples: int = 0
    unscored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActionValue:
    """What the memory says of one action.

    Q            estimated return of taking it here, on the scale of the rewards
    n            remembered steps behind Q; 0 for an action never tried near here
    uncertainty  standard error of Q; inf where nothing is known
    advantage    A as it enters the update, after normalisation (0.0 when abstaining)
    """

    Q: float
    n: int
    uncertainty: float
    advantage: float


@dataclass(frozen=True, slots=True)
class Values:
    """V of the state, and the value of each candidate: `values["north"].advantage`.

    V is nan where the memory holds no neighbour.
    """

    V: float
    actions: Mapping[str, ActionValue]

    def __getitem__(self, action: str) -> ActionValue:
        return self.actions[action]


@dataclass(frozen=True, slots=True)
class Experience:
    """A remembered step, as evidence for a decision.

    similarity  of its state to the state at hand, in [0, 1]
    return_     G (Eq. 3): its discounted return under the reading learner's gamma
    episode, t  where it comes from: the stored episode's id, and the step's place in it, from 0
    """

    similarity: float
    state: State
    action: str
    return_: float
    episode: str
    t: int
    task: str
    provenance: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Modulation:
    """What the memory adds to the logits of a state, for a policy that draws its action itself.

    advantages   of the known actions: remembered here, and executable
    otherwise    advantage of every other action; only differences to it matter
    beta         the step size wanted; the budget may ask for a smaller one
    kl_budget    nats, None for no limit
    temperature  T of the base policy softmax(z / T)
    values       V, and Q, n, uncertainty and advantage of the known actions
    neighbours   the remembered steps that were counted, most similar first
    abstained    the memory knows too little: no action is known, the base policy stands
    """

    state: State
    advantages: Mapping[str, float]
    otherwise: float
    beta: float
    kl_budget: float | None
    temperature: float
    values: Values
    neighbours: tuple[Experience, ...]
    abstained: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of the learner, with all that is needed to see why.

    action         what was chosen
    before, after  action -> probability, under the base policy and under the updated one; they sum
                   to 1, unless the model drew the action itself, from all that it could write
    kl             KL(after || before) in nats; exactly 0.0 when they are equal; inf where `after`
                   chose what `before` excludes (`released` only)
    beta           the step size in force, after the KL budget
    temperature    T: before = softmax(logprobs / T), after = softmax((logprobs + beta A) / T)
    values         V, and per candidate Q, n, uncertainty and advantage
    neighbours     the remembered steps that were counted, most similar first
    joined         remembered actions that joined the candidates (Eq. 23)
    abstained      the memory knew too little, so the base policy stands
    changed        the same random draw would have chosen otherwise without the memory
    without        what it would have chosen; "" where nobody knows: a model drew the action
    guarantee      what the base log-probabilities are worth
    outside        probability that the model gives to what is not in `before`; nan where unknown
    samples        how many samples "sampled" log-probabilities rest on, 0 otherwise
    """

    state: State
    action: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    kl: float
    beta: float
    temperature: float
    values: Values
    neighbours: tuple[Experience, ...]
    joined: tuple[str, ...]
    abstained: bool
    changed: bool
    guarantee: Guarantee
    outside: float = math.nan
    samples: int = 0
    without: str = ""

    @property
    def behaviour_logprob(self) -> float:
        """Log-probability, under the policy that acted, of the action it chose."""
        return math.log(self.after[self.action])

    @property
    def _worth(self) -> str:
        samples = f" (n = {self.samples})" if self.samples else ""
        rest = "" if math.isnan(self.outside) else f", {self.outside:.2%} on what is not listed"
        return f"{self.guarantee}{samples}{rest}"

    def __str__(self) -> str:
        if self.abstained:
            why = f"the memory abstained ({len(self.neighbours)} similar steps)"
        else:
            why = f"{len(self.neighbours)} similar steps, V = {self.values.V:.3g}"
        effect = "changed by memory" if self.changed else "as without memory"
        lines = [
            f"chose {self.action!r} ({effect}); {why}",
            f"beta = {self.beta:.3g}, KL = {self.kl:.3g} nats, T = {self.temperature:g}, "
            f"base log-probabilities: {self._worth}",
            "     before   after        A        Q    n  action",
        ]
        for action in sorted(self.after, key=lambda a: -self.after[a]):
            value = self.values.actions.get(action, _UNKNOWN)
            mark = (">" if action == self.action else " ") + ("+" if action in self.joined else " ")
            lines.append(
                f" {mark} {self.before[action]:6.1%}  {self.after[action]:6.1%}  "
                f"{value.advantage:7.3f}  {value.Q:7.3g}  {value.n:3d}  {action}"
            )
        if self.joined:
            lines.append("  + remembered from a similar state; the base policy did not propose it")
        return "\n".join(lines)


_UNKNOWN = ActionValue(Q=math.nan, n=0, uncertainty=math.inf, advantage=0.0)


@dataclass(frozen=True, slots=True)
class Step:
    """One decision and its reward, as stored. Returns are not stored: they follow from the rewards
    and the reader's gamma, so that one memory serves any gamma.

    reward  what the environment paid
    judged  the score that a judge gave the step; None where none did
    """

    state: State
    action: str
    reward: float
    behaviour_logprob: float
    before: Mapping[str, float]
    after: Mapping[str, float]
    changed: bool
    preset: str
    seed: int
    judged: float | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """Steps in order, as stored.

    id           names the episode; storing one id twice stores it once
    task         what was attempted, in words
    terminated   the world ended there; False means that the record was cut off
    final_state  the state after the last step, where it is known
    provenance   where it comes from: world, run, model, versions, time
    """

    id: str
    task: str
    steps: tuple[Step, ...]
    terminated: bool = False
    final_state: State | None = None
    provenance: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
