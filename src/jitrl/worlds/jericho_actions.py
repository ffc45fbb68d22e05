"""Which actions change the world of a Z-machine game, found by trying them.

    Engine    one interpreter: send a command, keep and restore its state, ask for its marks
    Search    valid_actions(): the candidates that change the world, one per effect

A candidate is a template of the game's grammar ("put OBJ in OBJ") filled with words that the game
itself prints for what is near: no language model and no tagger, the game's dictionary says which
words are nouns. Two-object templates are quadratic in the objects, so they are not all tried:
see `Search._pairs`. Nothing here depends on what was printed or searched before: equal states of
the machine give equal lists in every process.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from jitrl.worlds.jericho_grammar import Template

__all__ = ["META", "SEARCH", "Engine", "Mark", "Search", "Snapshot"]

SEARCH = "1"
"""Version of the search: raise it whenever the list for some state may come out differently."""

_META = """
    quit q restart save restore undo script unscript noscript transcript record recording replay
    unrecord verify
"""
META = frozenset(_META.split())
"""Commands to the interpreter, not actions: they write files, ask questions, or undo the game."""

_NO_THINGS = """
    north south east west northeast northwest southeast southwest up down in out
    n s e w ne nw se sw u d it him her them me
"""
_PROBES = (
    "look",
    "inventory",
    "wait",
    "zzzz " * 30,
    "a b c d e f g h i j k l m n o p q",
    "examine me and me and me and me and me and me and me and me and me",
    "take all from me",
)
_WAITS_FOR_KEY = 246  # the opcode that reads one key; 228 reads a line
_MARKER = b"zqjxkv"  # a word that no game knows
_SHORT_LINE = 60  # for a game whose line buffer is not found
_SPARE = 8  # Inform's line buffers are a byte shorter than they say; what follows is the parser's
_FIXED_RNG = (1, 0, 0)
_WORD = re.compile(r"[a-z0-9][a-z0-9'-]*")
_UNKNOWN = re.compile(
    r"don't know the word|not a verb i recogni[sz]e|can't see any|doesn't know the word"
    r"|doesn't recogni[sz]e the word|isn't in the vocabulary|not in the vocabulary"
    r"|don't need to use the word|don't need to refer to|noun missing in that sentence"
    r"|isn't one i recogni[sz]e|used the word .* in a way|not clear what you're referring"
    r"|what do you want to examine|do you mean|i beg your pardon|can't see that",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that an interpreter holds, as `Engine.save` found it.

    ram, stack  bytes of the machine's memory and of its whole stack
    registers   program counter, stack pointer, frame pointer, frame count, next opcode
    rng         state of the random numbers
    text        what was printed last (the marks of an ending are read from it)
    """

    ram: bytes
    stack: bytes
    registers: tuple[int, int, int, int, int]
    rng: tuple[int, int, int]
    text: bytes

    @property
    def digest(self) -> str:
        """32 hexadecimal digits, equal for equal states."""
        whole = self.ram + self.stack + repr((self.registers, self.rng, self.text)).encode()
        return hashlib.blake2b(whole, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Mark:
    """What a command did.

    text    the answer
    effect  the change of the world and of the score, equal for equal changes; b"" for none
    """

    text: str
    effect: bytes


class Engine:
    """One interpreter with one game loaded. Not for two threads at once.

    `env` is a `jericho.FrotzEnv` of a supported game, just loaded. `longest` is the number of
    characters of a line that the game has room for: the interpreter writes whatever it gets into
    the game's memory, so a longer one destroys what lies behind.
    """

    def __init__(self, env: Any) -> None:
        self._env = env
        self._lib = env.frotz_lib
        self._diff = np.zeros(128, dtype=np.uint16)
        self._diff_at = (self._diff.ctypes.data, self._diff.ctypes.data + 128)
        self.longest = 0
        self.longest = self._line_length()

    @property
    def waits_for_key(self) -> bool:
        """Whether the game waits for a single key, not for a line."""
        return bool(self._lib.get_opcode() == _WAITS_FOR_KEY)

    @property
    def score(self) -> int:
        """The game's running score."""
        return int(self._lib.get_score())

    @property
    def over(self) -> bool:
        """Whether the game is won, lost, or its interpreter has stopped."""
        return bool(self._lib.game_over() > 0 or self._lib.victory() > 0)

    @property
    def objects(self) -> slice:
        """Where in the memory the objects lie, defaults of their properties included."""
        lib = self._lib
        ram = self.save().ram
        defaults, size = (31, 9) if ram[0] <= 3 else (63, 14)
        start = ram[0x0A] << 8 | ram[0x0B]
        return slice(start, start + 2 * defaults + size * lib.get_num_world_objs())

    def save(self) -> Snapshot:
        """Copy the state of the machine."""
        lib = self._lib
        ram = np.empty(lib.getRAMSize(), dtype=np.uint8)
        stack = np.empty(lib.getStackSize(), dtype=np.uint8)
        lib.getRAM(ram.ctypes.data)
        lib.getStack(stack.ctypes.data)
        registers = (
            lib.getPC(),
            lib.getSP(),
            lib.getFP(),
            lib.getFrameCount(),
            lib.get_opcode(),
        )
        rng = (int(lib.getRngA()), lib.getRngInterval(), lib.getRngCounter())
        return Snapshot(ram.tobytes(), stack.tobytes(), registers, rng, lib.get_narrative_text())

    def restore(self, snapshot: Snapshot, rng: tuple[int, int, int] | None = None) -> None:
        """Put the machine into that state; with `rng`, all but the random numbers."""
        lib = self._lib
        if lib.halted() > 0:
            self._env.reset()  # the only way to wake an interpreter that has stopped
        pc, sp, fp, frames, opcode = snapshot.registers
        lib.setRng(*(rng or snapshot.rng))
        lib.setRAM(snapshot.ram)
        lib.setStack(snapshot.stack)
        lib.setPC(pc)
        lib.setSP(sp)
        lib.setFP(fp)
        lib.set_opcode(opcode)
        lib.setFrameCount(frames)
        lib.set_narrative_text(snapshot.text)

    def send(self, command: str) -> str:
        """Send one line of printable ASCII, cut to `longest`; return the answer."""
        line = command.encode("ascii")[: self.longest]
        answer: bytes = self._lib.step(line + b"\n")
        return answer.decode("cp1252", errors="replace")

    def ask(self, command: str) -> str:
        """Return the answer to a command that is then taken back.

        The random numbers start from a fixed place, so the answer depends on the world alone.
        """
        start = self.save()
        self.restore(start, _FIXED_RNG)
        try:
            return self.send(command)
        finally:
            self.restore(start)

    def _line_length(self) -> int:
        """Find the game's line buffer by what it holds after a line; its size stands before it."""
        start = self.save()
        self._lib.step(_MARKER + b"\n")
        ram = self.save().ram
        self.restore(start)
        before = 1 if ram[0] <= 4 else 2
        sizes = [ram[found.start() - before] for found in re.finditer(_MARKER, ram)]
        return min((size - _SPARE for size in sizes if size > _SHORT_LINE), default=_SHORT_LINE)

    def effect(self, score: int) -> bytes:
        """Return what the last command changed; `score` is the score before it."""
        lib = self._lib
        gained = int(lib.get_score()) - score
        over = self.over
        if not gained and not over and lib.world_changed() <= 0:
            return b""
        self._diff[:] = 0
        lib.get_cleaned_world_diff(*self._diff_at)
        return self._diff.tobytes() + f"{gained} {over}".encode()

    def names_here(self) -> list[str]:
        """Return the short names of the objects around and on the player, in the tree's order."""
        player = self._env.get_player_object()
        place = player and self._env.get_object(player.parent)
        if not place:
            return []
        names, todo, seen = [], [place.child], {place.num, 0}
        while todo:
            number = todo.pop()
            thing = self._env.get_object(number) if number not in seen else None
            seen.add(number)
            if thing is None:
                continue
            todo += [thing.sibling, thing.child]
            if number != self._env.player_obj_num:
                names.append(thing.name)
        return names


class Search:
    """The search for valid actions in one game, on one engine.

    `templates` are the game's, without those that `META` excludes; `words` its dictionary as
    (word, is noun, is adjective), words cut to `width` characters; `rank` orders actions, best
    first.
    """

    def __init__(
        self,
        engine: Engine,
        templates: Iterable[Template],
        words: Iterable[tuple[str, bool, bool]],
        width: int,
        rank: Callable[[str], tuple[int, int, int, str]],
    ) -> None:
        self._engine = engine
        self._width = width
        self._rank = rank
        no_things = {word[:width] for word in _NO_THINGS.split()}
        self._nouns = {
            word: noun
            for word, noun, adjective in words
            if (noun or adjective) and word not in no_things
        }
        self._templates: tuple[list[Template], ...] = ([], [], [])
        templates = list(templates)
        for template in templates:
            self._templates[template.text.count("OBJ")].append(template)
        self._standard = _Standard(engine, [template.text for template in templates])
        self.tried = 0

    def standard(self, snapshot: Snapshot) -> Snapshot:
        """Return the state to search in place of `snapshot`; its digest is the key to the answer.

        States that differ only in clocks, in random numbers and in the parser's scratch memory have
        the same one.
        """
        return self._standard(snapshot)

    def valid_actions(self, standard: Snapshot) -> tuple[str, ...]:
        """Return the actions that change that world, in alphabetical order, one per effect.

        A function of `standard` alone. Of the actions with one effect the first by `rank` is kept.
        Never empty: where nothing changes the world, looking and waiting remain; where the game
        waits for a key, "q". The machine is left as it was found.
        """
        start = self._engine.save()
        try:
            return self._search(_Trial(self._engine, standard))
        finally:
            self._engine.restore(start)

    def _search(self, trial: _Trial) -> tuple[str, ...]:
        if self._engine.waits_for_key:
            return ("q",)  # any key goes on from "press any key", this one also leaves a menu
        plain, single, double = self._templates
        held, near = self._objects(trial)
        for template in plain:
            trial(template.text)
        for template in single:
            for name in [*held, *near, *(["all"] if template.many else [])]:
                trial(template.text.replace("OBJ", name))
        held.sort(key=lambda name: not trial(f"drop {name}").effect)  # surely held: first
        for template in double:
            if held:
                self._pairs(trial, template, held, near)
            if template.many:
                for name in [*held, *near]:
                    trial(_fill(template, "all", name))
        self.tried = len(trial.marks)
        best: dict[bytes, str] = {}
        for command, mark in trial.marks.items():
            if mark.effect and "(Taken)" not in mark.text:
                rival = best.get(mark.effect)
                if rival is None or self._rank(command) < self._rank(rival):
                    best[mark.effect] = command
        return tuple(sorted(best.values())) or ("look", "wait")

    def _objects(self, trial: _Trial) -> tuple[list[str], list[str]]:
        """Return one name for each thing held, and for each thing near.

        Words with the same answer to "examine" name the same thing; a word that the game does not
        know, or asks back about, names nothing.
        """
        carried = self._words(trial("inventory").text)
        words = carried | self._words(trial("look").text)
        self._engine.restore(trial.start)
        named = [" ".join(_WORD.findall(name.lower())) for name in self._engine.names_here()]
        last = {name.split()[-1] for name in named if name}
        for name in named:
            if name and all(word[: self._width] in self._nouns for word in name.split()):
                words |= {name, *name.split()}
            else:
                words |= self._words(name)
        groups: dict[str, list[str]] = {}
        for word in sorted(words):
            answer = trial(f"examine {word}").text
            if not _UNKNOWN.search(answer):
                groups.setdefault(answer, []).append(word)

        def order(word: str) -> tuple[bool, bool, bool, int, str]:
            noun = self._nouns.get(word[: self._width], False)
            return (" " in word, word not in last, not noun, len(word), word)

        held: list[str] = []
        near: list[str] = []
        for group in groups.values():
            (held if carried & set(group) else near).append(min(group, key=order))
        return sorted(held), sorted(near)

    def _words(self, text: str) -> set[str]:
        words = _WORD.findall(text.lower())
        return {word for word in words if word[: self._width] in self._nouns}

    def _pairs(self, trial: _Trial, template: Template, held: list[str], near: list[str]) -> None:
        """Try a two-object template with those pairs that may matter.

        One thing of a pair must be held. One held thing is tried with everything, in both places;
        then only the things whose answer differs from that of most others are tried with the rest.
        """

        def answer(first: str, second: str) -> tuple[str, bytes]:
            mark = trial(_fill(template, first, second))
            return trial.plain(mark.text), mark.effect

        things = [*held, *near]
        one, two = held[0], held[1 % len(held)]
        firsts = _outstanding([(i, i in held, answer(i, two)) for i in things if i != two])
        seconds = _outstanding([(j, j in held, answer(one, j)) for j in things if j != one])
        for first, second in product(things, things):
            allowed = first != second and (first in held or second in held)
            if allowed and (first in firsts or second in seconds):
                answer(first, second)


def _fill(template: Template, first: str, second: str) -> str:
    before, between, after = template.text.split("OBJ")
    return f"{before}{first}{between}{second}{after}"


def _outstanding(answers: list[tuple[str, bool, tuple[str, bytes]]]) -> set[str]:
    """Return the things that answer otherwise than most of their kind (held, or not).

    An answer is common to a kind if at least half of the kind gives it and at least three things
    do in all. A change of the world always stands out.
    """
    overall = Counter(answer for _, _, answer in answers)
    common: dict[bool, tuple[str, bytes]] = {}
    for kind in (True, False):
        same = Counter(answer for _, held, answer in answers if held is kind)
        for answer, n in same.most_common(1):
            if not answer[1] and 2 * n >= same.total() and overall[answer] >= 3:
                common[kind] = answer
    return {thing for thing, held, answer in answers if answer != common.get(held)}


class _Standard:
    """Brings states that differ only in clocks and scratch memory to one.

    What commands without effect write, at the very start of the game, is no part of the world:
    turn counters, the parser's buffers, the last verb and noun. Those bytes get the values of the
    start, and the random numbers start afresh. The objects count to the last byte.
    """

    def __init__(self, engine: Engine, texts: list[str]) -> None:
        self._start = start = engine.save()
        ram, stack = _bytes(start.ram), _bytes(start.stack)
        scratch, stack_scratch = np.zeros(ram.size, bool), np.zeros(stack.size, bool)
        before = start
        for probe in [*_PROBES, *(text.replace("OBJ", "me") for text in texts)]:
            score = engine.score
            engine.send(probe)
            if engine.effect(score) or engine.waits_for_key:
                engine.restore(before)
                continue
            before = engine.save()
            scratch |= _bytes(before.ram) != ram
            stack_scratch |= _bytes(before.stack) != stack
        engine.restore(start)
        scratch[engine.objects] = False
        self._scratch, self._stack_scratch = scratch, stack_scratch

    def __call__(self, snapshot: Snapshot) -> Snapshot:
        ram = np.where(self._scratch, _bytes(self._start.ram), _bytes(snapshot.ram))
        stack = np.where(self._stack_scratch, _bytes(self._start.stack), _bytes(snapshot.stack))
        stack[: 2 * snapshot.registers[1]] = 0  # the stack grows downwards: nothing lives below
        return Snapshot(ram.tobytes(), stack.tobytes(), snapshot.registers, _FIXED_RNG, b"")


def _bytes(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, dtype=np.uint8)


class _Trial:
    """Commands tried from one state, each once."""

    def __init__(self, engine: Engine, start: Snapshot) -> None:
        self.start = start
        self.marks: dict[str, Mark] = {}
        self._engine = engine
        engine.restore(start)
        self._score = engine.score
        self._names: set[str] = set()

    def __call__(self, command: str) -> Mark:
        mark = self.marks.get(command)
        if mark is None:
            self._engine.restore(self.start, _FIXED_RNG)
            text = self._engine.send(command)
            mark = self.marks[command] = Mark(text, self._engine.effect(self._score))
            if command.startswith("examine "):
                self._names.update(command.split()[1:])
        return mark

    def plain(self, text: str) -> str:
        """Return `text` without the names of things, so that answers can be compared."""
        return " ".join(word for word in _WORD.findall(text.lower()) if word not in self._names)
