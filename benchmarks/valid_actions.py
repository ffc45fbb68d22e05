"""How fast jitrl finds the valid actions of Jericho's games, beside jericho's own way.

    JITRL_GAMES=/path/to/stories python benchmarks/valid_actions.py [--states 12] [GAME ...]

Both are asked in the same states, one after the other: half of them along the game's walkthrough,
half from random play (seed 1). Jericho's own search gets its nouns from the game's dictionary,
since the tagger it would load is not always to be had. "covered" counts the walkthrough's actions
whose effect one of the listed actions has, of those that have any effect; "shared" is the part of
jericho's effects that jitrl's list has too.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from jitrl.worlds.action_cache import ActionCache
from jitrl.worlds.jericho import JerichoWorld, make
from jitrl.worlds.jericho_actions import Engine, Snapshot


@dataclass
class _Token:
    text: str
    pos_: str

    @property
    def lower_(self) -> str:
        return self.text.lower()


@dataclass
class _Tally:
    """Measurements of one way of searching, one entry per state."""

    seconds: list[float] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    covered: int = 0


def tagger(env: Any) -> Callable[[str], list[_Token]]:
    """Return a stand-in for spaCy that knows the nouns and adjectives of the game's dictionary."""
    width = env.bindings["max_word_length"]
    known = {
        word.word: "NOUN" if word.is_noun else "ADJ"
        for word in env.get_dictionary()
        if (word.is_noun or word.is_adj) and not word.is_dir
    }

    def tag(text: str) -> list[_Token]:
        words = re.findall(r"[\w'-]+", text)
        return [_Token(word, known.get(word.lower()[:width], "X")) for word in words]

    return tag


def states(world: JerichoWorld, n: int) -> list[tuple[Snapshot, str]]:
    """Return n states, each with the walkthrough's next action there ("" in random play)."""
    engine, env = world._engine, world._env
    assert engine is not None
    walk, found = env.get_walkthrough(), []
    env.seed(None)
    env.reset()
    for k, action in enumerate(walk):
        if k * (n - n // 2) // len(walk) != (k - 1) * (n - n // 2) // len(walk):
            found.append((engine.save(), action))
        engine.send(action)
    draw, now = random.Random(1), world.reset(1)
    while len(found) < n:
        for _ in range(4):
            now = world.reset(1) if now.terminated else world.step(draw.choice(now.actions))
        if not now.terminated:
            found.append((engine.save(), ""))
    return found


def effects(engine: Engine, start: Snapshot, actions: list[str]) -> set[bytes]:
    """Return what the actions change, each tried from `start`."""
    out = set()
    for action in actions:
        engine.restore(start, (1, 0, 0))
        score = engine.score
        engine.send(action)
        out.add(engine.effect(score))
    engine.restore(start)
    return out - {b""}


def measure(which: str, games: Path, n: int) -> str:
    """Return one row of the table."""
    import jericho.util

    world = make(which, games=games, cache="")
    engine, search, env = world._engine, world._search, world._env
    assert engine is not None and search is not None
    ours, cached, theirs = _Tally(), _Tally(), _Tally()
    changing = shared = of_theirs = 0
    jericho.util.spacy_nlp = tagger(env)
    with TemporaryDirectory() as folder:
        writer, reader = (ActionCache(Path(folder) / "a.db") for _ in range(2))
        for start, action in states(world, n):
            engine.restore(start)
            lists = []
            clock = time.perf_counter()
            listed = search.valid_actions(search.standard(engine.save()))
            ours.seconds.append(time.perf_counter() - clock)
            lists.append(list(listed))
            writer.put(listed, search.standard(start).digest)
            clock = time.perf_counter()
            reader.get(search.standard(engine.save()).digest)
            cached.seconds.append(time.perf_counter() - clock)
            clock = time.perf_counter()
            lists.append(env.get_valid_actions(use_parallel=False))
            theirs.seconds.append(time.perf_counter() - clock)
            engine.restore(start)
            mine, other = (effects(engine, start, actions) for actions in lists)
            shared, of_theirs = shared + len(mine & other), of_theirs + len(other)
            wanted = effects(engine, start, [action]) if action else set()
            changing += len(wanted)
            for tally, actions, have in ((ours, lists[0], mine), (theirs, lists[1], other)):
                tally.actions.append(len(actions))
                tally.covered += len(wanted & have)
        writer.close()
        reader.close()
    world.close()
    ratio = sum(theirs.seconds) / sum(ours.seconds)
    times = "".join(
        f" {np.median(tally.seconds):7.4f} {np.quantile(tally.seconds, 0.95):7.4f} |"
        for tally in (theirs, ours, cached)
    )
    counts = f"{np.mean(theirs.actions):5.1f} {np.mean(ours.actions):5.1f}"
    covered = f"{theirs.covered:3d} {ours.covered:3d} of {changing:3d}"
    return f"{which:10s}|{times} {ratio:5.1f} | {counts} | {covered} | {shared / of_theirs:6.1%}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("games", nargs="*", metavar="GAME", help="default: all in JITRL_GAMES")
    parser.add_argument("--states", type=int, default=12, help="states per game (12)")
    given = parser.parse_args()
    folder = Path(os.environ["JITRL_GAMES"])
    names = given.games or sorted(path.stem for path in folder.glob("*.z?"))
    print("seconds: median, 95 % quantile; ratio: jericho's time over ours without a cache")
    print(
        " " * 10
        + "| jericho         | jitrl           | jitrl, cached   |       | actions     | covered"
    )
    print(
        "game      " + "| median     95 % " * 3 + "| ratio | theirs ours | theirs ours   | shared"
    )
    for name in names:
        print(measure(name, folder, given.states), flush=True)


if __name__ == "__main__":
    main()
