"""EvoTest (2025, arXiv 2510.13220): configurations that a model evolves from attempt to attempt.

A task has a tree of configurations: a guide in words, a temperature, and phrases to look for in
what the environment prints (the original runs code that a model wrote to extract a state; nothing
is run here). After each attempt a model reads it and writes a child of the configuration that an
upper confidence bound chooses:

    score + c d^depth sqrt(ln N / (1 + children)),   c = 1, d = 0.8

with scores as shares of the best one possible, or of the best seen where that is unknown, and N the
attempts so far. The child is tried next; but after an attempt that fell below half of the best
(our reading of a "large drop"), and once the task is solved, the best configuration is used again.

Beside it stand two memories: what raised the score, state and action, of which the three most
similar to the state at hand are shown; and the last three loops of actions that gained nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from jitrl.agents.arms import Arm
from jitrl.agents.carrier import Carrier, Kit, Note, request
from jitrl.models.jsonreply import ask_json
from jitrl.prompts import load
from jitrl.records import Situation, State
from jitrl.scores.text import as_line, transcript
from jitrl.similarity import similarity

_C, _D = 1.0, 0.8
_DROP = 0.5  # of the best score: below it an attempt fell
_TEMPERATURES = (0.2, 2.0)
_PHRASES, _SHOWN, _LOOPS = 10, 3, 3
_SIMILAR = 0.5  # least similarity of a state whose action is shown
_LOOP = 6  # steps without gain that count as a loop
_READ, _TOKENS = 16_000, 700  # characters of the transcript, tokens of a configuration
_KEPT = 200  # snippets of a task, the newest
_LONGEST = 80  # characters of a phrase
_SCHEMA = {
    "type": "object",
    "properties": {
        "guide": {"type": "string"},
        "temperature": {"type": "number"},
        "phrases": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["guide", "temperature", "phrases"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Setup:
    """A configuration: a guide, a temperature (None: the preset's), phrases to look for."""

    guide: str = ""
    temperature: float | None = None
    phrases: tuple[str, ...] = ()

    def __str__(self) -> str:
        warm = "as usual" if self.temperature is None else f"{self.temperature:g}"
        phrases = ", ".join(self.phrases) or "(none)"
        return f"guide: {self.guide or '(none)'}\ntemperature: {warm}\nphrases: {phrases}"


@dataclass
class _Node:
    """A configuration in the tree, with the scores of the attempts that were made with it."""

    setup: Setup
    depth: int = 0
    children: int = 0
    scores: list[float] = field(default_factory=list)

    @property
    def score(self) -> float:
        return sum(self.scores) / len(self.scores) if self.scores else 0.0


@dataclass
class _Tree:
    """What is known of a task. `now` is the node that the next attempt is made with."""

    nodes: list[_Node] = field(default_factory=lambda: [_Node(Setup())])
    now: int = 0
    raised: list[tuple[State, str, float]] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)

    @property
    def tried(self) -> list[int]:
        """The nodes with which an attempt was made."""
        return [place for place, node in enumerate(self.nodes) if node.scores]

    @property
    def best(self) -> int:
        """The node with the best mean score, the first of equals."""
        return max(self.tried or [0], key=lambda place: self.nodes[place].score)

    def parent(self, scale: float) -> int:
        """Return the node whose child comes next, by the upper confidence bound."""
        total = sum(len(node.scores) for node in self.nodes)

        def bound(place: int) -> float:
            node = self.nodes[place]
            wide = math.sqrt(math.log(max(total, 1)) / (1 + node.children))
            return node.score / scale + _C * _D**node.depth * wide

        return max(self.tried, key=bound)


class Evolution(Carrier):
    """Keeps a tree of configurations for each task."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._trees: dict[str, _Tree] = defaultdict(_Tree)

    def advise(self, situation: Situation) -> Situation:
        """Return the situation with the guide, and with what the memories say of its state."""
        tree = self._trees[situation.task]
        setup = tree.nodes[tree.now].setup
        self.temperature = setup.temperature
        parts = [setup.guide] if setup.guide else []
        lines = situation.observation.text.splitlines()
        noted = [line for line in lines if any(p.lower() in line.lower() for p in setup.phrases)]
        parts += [f"Note: {as_line(line)}" for line in noted[:_PHRASES]]
        parts += [
            f"What raised the score by {gain:g} in a similar state: {as_line(action)}"
            for action, gain in self._similar(tree, situation.observation.state)
        ]
        parts += [f"This gained nothing before: {loop}" for loop in tree.loops]
        return replace(situation, advice="\n".join(parts))

    async def learn(self, end: Situation) -> Note:
        """Return the note: the score, what raised it, what gained nothing, and the next setup."""
        tree = self._trees[end.task]
        score = end.observation.score
        note: dict[str, object] = {
            "score": score,
            "solved": self._kit.solved(end),
            "raised": [
                [dict(turn.before.state), turn.action, turn.after.reward]
                for turn in end.turns
                if turn.after.reward > 0
            ],
            "loops": _loops(end),
        }
        if self._kit.solved(end):
            return note
        node = tree.nodes[tree.now]  # its score counts already for the choice of a parent
        node.scores.append(score)
        try:
            parent = tree.parent(self._scale(tree, score))
        finally:
            node.scores.pop()
        setup = tree.nodes[parent].setup
        best = max([score, *(s for one in tree.nodes for s in one.scores)])
        messages = load("evolve").render(
            configuration=str(setup),
            parent_score=f"{tree.nodes[parent].score:g}",
            score=f"{score:g}",
            best=f"{best:g}",
            transcript=transcript(end, _READ),
            lowest=str(_TEMPERATURES[0]),
            highest=str(_TEMPERATURES[1]),
            phrases=str(_PHRASES),
        )
        asked = replace(request(self._kit, end, "evolve", messages, _TOKENS), schema=_SCHEMA)
        child, _ = await ask_json(self._kit.model, asked, _setup)
        note["parent"] = parent
        note["child"] = {
            "guide": child.guide,
            "temperature": child.temperature,
            "phrases": list(child.phrases),
        }
        return note

    def keep(self, task: str, note: Note) -> None:
        """Take over what was learned, and choose the setup of the next attempt."""
        if note is None:
            return
        tree = self._trees[task]
        score = float(cast(float, note["score"]))
        tree.nodes[tree.now].scores.append(score)
        raised = cast("list[tuple[Mapping[str, str], str, float]]", note["raised"])
        for state, action, gain in raised:
            tree.raised.append((State(**state), action, gain))
        tree.raised = tree.raised[-_KEPT:]
        tree.loops = [*tree.loops, *cast("list[str]", note["loops"])][-_LOOPS:]
        if (told := cast("Mapping[str, object] | None", note.get("child"))) is not None:
            parent = tree.nodes[cast(int, note["parent"])]
            parent.children += 1
            tree.nodes.append(_Node(_setup(told), parent.depth + 1))
        best = tree.nodes[tree.best].score
        if note["solved"] or told is None or score < _DROP * best:
            tree.now = tree.best
        else:
            tree.now = len(tree.nodes) - 1

    def _scale(self, tree: _Tree, score: float) -> float:
        """Return what scores are shares of."""
        if self._kit.best is not None and self._kit.best > 0:
            return self._kit.best
        return max([1e-9, abs(score), *(abs(s) for one in tree.nodes for s in one.scores)])

    def _similar(self, tree: _Tree, state: State) -> list[tuple[str, float]]:
        """Return the actions that raised the score in the states most like this one."""
        fields = self._kit.preset.fields
        found = [(similarity(state, s, fields), action, gain) for s, action, gain in tree.raised]
        near = sorted((one for one in found if one[0] >= _SIMILAR), key=lambda one: -one[0])
        return list(dict.fromkeys((action, gain) for _, action, gain in near))[:_SHOWN]


def _setup(value: object) -> Setup:
    """Return the configuration that JSON tells; raises ValueError for what is none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("guide"), str):
        raise ValueError('it must be an object with a text "guide"')
    warm, phrases = value.get("temperature"), value.get("phrases")
    low, high = _TEMPERATURES
    if isinstance(warm, bool) or not isinstance(warm, int | float) or not low <= warm <= high:
        raise ValueError(f'its "temperature" must be a number from {low} to {high}')
    if not isinstance(phrases, Sequence) or isinstance(phrases, str):
        raise ValueError('its "phrases" must be a list')
    if len(phrases) > _PHRASES or not all(isinstance(p, str) and p.strip() for p in phrases):
        raise ValueError(f'its "phrases" must be at most {_PHRASES} texts, none empty')
    return Setup(value["guide"].strip(), float(warm), tuple(p[:_LONGEST] for p in phrases))


def _loops(end: Situation) -> list[str]:
    """Return the longest stretch of at least six steps that gained nothing and came back."""
    best: list[str] = []
    current: list[str] = []
    for turn in end.turns:
        current = [] if turn.after.reward > 0 else [*current, turn.action]
        if len(current) >= _LOOP and len(set(current)) < len(current) and len(current) > len(best):
            best = current
    return [", ".join(as_line(action) for action in best[:_LOOP])] if best else []


ARM = Arm(
    stores=False,
    moves=False,
    carrier=Evolution,
    tempers=True,
    prompts=("evolve",),
    told=600,
    asked=(1, 800, _TOKENS),
)
