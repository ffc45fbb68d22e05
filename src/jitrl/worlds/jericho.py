"""Jericho's text games as worlds: `make("detective")` plays GAMES/detective.z5 (or .z3, .z8 ...).

Jericho (GPL-2.0-or-later) is an optional extra, imported only when a game is opened. Story files
are yours to find; the folder they lie in is `games=` or $JITRL_GAMES.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from jitrl.errors import InvalidValue, MissingExtra, WorldError
from jitrl.records import Observation
from jitrl.worlds.action_cache import ActionCache, default_path
from jitrl.worlds.jericho_actions import META, SEARCH, Engine, Search
from jitrl.worlds.jericho_grammar import templates
from jitrl.worlds.text_state import TextGameState

__all__ = ["JerichoWorld", "make"]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SUFFIX = re.compile(r"\.z[1-8]", re.IGNORECASE)
_HIGHEST_SEED = 2**31 - 1


def make(
    which: str,
    *,
    games: str | Path | None = None,
    cache: str | Path | None = None,
    **options: object,
) -> JerichoWorld:
    """Open the game `which`, for instance "detective".

    `games` is the folder of story files (default: $JITRL_GAMES), `cache` the file that keeps the
    valid actions found (default: one in $JITRL_CACHE or the user's cache folder; "" for none).

    Raises MissingExtra without jericho; InvalidValue for a name that is not plain or an unknown
    option; WorldError where the folder or the game is missing, where several files fit, and for a
    story file that jericho does not support.
    """
    for name, value in options.items():
        raise InvalidValue(name, value, "is no option of a jericho world (games, cache)")
    if not isinstance(which, str) or not _PLAIN_NAME.fullmatch(which) or ".." in which:
        raise InvalidValue("game", which, "must be a plain name, such as detective")
    path = _find(which, games)
    story = _read(path)
    env = _open(path, story)
    file = default_path() if cache is None else Path(cache) if str(cache) else None
    return JerichoWorld(which, story, env, ActionCache(file))


class JerichoWorld:
    """One game. The contract is that of `jitrl.worlds.World`; `make` opens one.

    The state is what "look" and "inventory" print, and a history; both are asked for on the side,
    without changing the game. `score` is the game's own, which may start above 0, and the reward is
    its change. `terminated` is the game's end, won or lost; `truncated` is never set. Not for two
    threads at once; any number of worlds may be open in a process.
    """

    def __init__(self, which: str, story: bytes, env: Any, cache: ActionCache) -> None:
        bindings = env.bindings
        self.name = f"jericho:{which}"
        self.max_score: float | None = float(env.get_max_score())
        self.reward_range: tuple[float, float] | None = None
        self.version: Mapping[str, str] = {
            "jericho": installed_version("jericho"),
            "story": hashlib.sha256(story).hexdigest(),
            "search": SEARCH,
        }
        self._key = tuple(self.version.values())
        self._width = int(bindings["max_word_length"])
        self._meta = {word[: self._width] for word in META}
        self._env: Any = env
        self._engine: Engine | None = Engine(env)
        self._search: Search | None = _search(self._engine, env, story)
        self._cache = cache
        self._game: TextGameState | None = None
        self._last: Observation | None = None
        self._inventory = ""
        self._total = self._searching = 0.0

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds spent so far: "total" in reset and step, of these "actions" in the search."""
        return {"total": self._total, "actions": self._searching}

    def reset(self, seed: int) -> Observation:
        """Begin an episode. `seed`, in [1, 2**31 - 1], seeds the interpreter's random numbers."""
        if isinstance(seed, bool) or not isinstance(seed, int) or not 1 <= seed <= _HIGHEST_SEED:
            raise InvalidValue("seed", seed, f"must be an integer in [1, {_HIGHEST_SEED}]")
        started = time.perf_counter()
        engine = self._open_engine()
        self._env.seed(seed)
        text, _ = self._env.reset()
        self._inventory = ""
        room = self._look(engine, text)
        self._game = TextGameState(room, self._inventory)
        return self._observe(engine, text, 0.0, started)

    def step(self, action: str) -> Observation:
        """Send one command to the game.

        Line breaks, other control characters and those that the interpreter reserves (backslash,
        "#", "$") become spaces, accents are dropped, and what exceeds the game's own line buffer
        (92 to 112 characters) is cut. A command to the interpreter ("quit", "save", "undo" ...) is
        not sent: the answer says so and nothing changes. Raises InvalidValue for anything but a
        string, WorldError before the first reset, after the end of an episode, and when closed.
        """
        if not isinstance(action, str):
            raise InvalidValue("action", action, "must be a string")
        started = time.perf_counter()
        engine = self._open_engine()
        if self._game is None or self._last is None:
            raise WorldError(f"{self.name} has no episode to step: call reset(seed) first")
        if self._last.terminated:
            raise WorldError(f"the episode of {self.name} is over: call reset(seed)")
        command = _clean_command(action)
        meta = "" if engine.waits_for_key else self._meta_in(command)
        if meta:
            text = f"[{meta!r} is a command to the interpreter, not an action: nothing happened.]"
            self._last = replace(self._last, text=text, reward=0.0)
            self._total += time.perf_counter() - started
            return self._last
        before = engine.score
        text = engine.send(command)
        reward = float(engine.score - before)
        room = self._look(engine, text)
        self._game.add(command, room, self._inventory, reward)
        return self._observe(engine, text, reward, started)

    def close(self) -> None:
        """Free the interpreter and the cache file; calling it twice is harmless."""
        self._engine = self._search = self._env = self._game = self._last = None
        self._cache.close()

    def _open_engine(self) -> Engine:
        if self._engine is None:
            raise WorldError(f"{self.name} is closed: open it again with make")
        return self._engine

    def _look(self, engine: Engine, text: str) -> str:
        """Return the text of the place, and note the inventory, without touching the game.

        At the end, and where the game waits for a key, there is no looking around: the place is
        then what was printed, and the inventory the last one known.
        """
        if engine.over or engine.waits_for_key:
            return _clean(text)
        self._inventory = _clean(engine.ask("inventory"))
        return _clean(engine.ask("look"))

    def _observe(self, engine: Engine, text: str, reward: float, started: float) -> Observation:
        assert self._game is not None
        state = self._game.state
        over = engine.over
        actions = () if over else self._actions(engine)
        self._last = Observation(
            state=state,
            text=_clean(text),
            actions=actions,
            reward=reward,
            score=float(engine.score),
            terminated=over,
        )
        self._total += time.perf_counter() - started
        return self._last

    def _actions(self, engine: Engine) -> tuple[str, ...]:
        started = time.perf_counter()
        assert self._search is not None
        standard = self._search.standard(engine.save())
        key = (*self._key, standard.digest)
        actions = self._cache.get(*key)
        if actions is None:
            actions = self._search.valid_actions(standard)
            self._cache.put(actions, *key)
        self._searching += time.perf_counter() - started
        return actions

    def _meta_in(self, command: str) -> str:
        """Return the first command to the interpreter in a line, or ""."""
        for part in re.split(r"[.,;!?]|\b(?:then|and)\b", command.lower()):
            words = part.split()
            if (
                words
                and words[0][: self._width] in self._meta
                and words[1:] in ([], ["on"], ["off"])
            ):
                return part.strip()
        return ""


def _find(which: str, games: str | Path | None) -> Path:
    named = games if games is not None else os.environ.get("JITRL_GAMES")
    if not named:
        raise WorldError(
            f"no folder to look for the game {which!r} in: pass games= or set JITRL_GAMES to the "
            "folder of your story files"
        )
    folder = Path(named)
    if not folder.is_dir():
        raise WorldError(f"the folder of games {str(folder)!r} does not exist: see JITRL_GAMES")
    stories = sorted(p for p in folder.iterdir() if _SUFFIX.fullmatch(p.suffix) and p.is_file())
    found = [path for path in stories if path.stem == which]
    if len(found) == 1:
        return found[0]
    if found:
        files = ", ".join(path.name for path in found)
        raise WorldError(f"several files are {which!r} in {str(folder)!r}, keep one: {files}")
    others = ", ".join(dict.fromkeys(path.stem for path in stories)) or "none"
    raise WorldError(f"no game {which!r} in {str(folder)!r} (JITRL_GAMES); found there: {others}")


def _read(path: Path) -> bytes:
    try:
        story = path.read_bytes()
    except OSError as error:
        raise WorldError(
            f"the story file {str(path)!r} cannot be read: {error.strerror}"
        ) from error
    if len(story) < 64 or not 1 <= story[0] <= 8:
        raise WorldError(f"{str(path)!r} is not a story file of the Z-machine: get another copy")
    return story


def _open(path: Path, story: bytes) -> Any:
    try:
        import jericho
        from jericho import defines
    except ImportError as error:
        raise MissingExtra("jericho is not installed: pip install 'jitrl[games]'") from error
    # Checked here, since the interpreter itself ends the process on a file it cannot read, and
    # without jericho's bindings there is neither a score nor a grammar.
    bindings = defines.BINDINGS_DICT.get(hashlib.md5(story, usedforsecurity=False).hexdigest())
    if bindings is None:
        raise WorldError(
            f"jericho does not know the story file {str(path)!r}, so it has no score: get the "
            "release of the game that jericho supports"
        )
    return jericho.FrotzEnv(str(path))


def _search(engine: Engine, env: Any, story: bytes) -> Search:
    from jericho.util import verb_usage_count

    width = int(env.bindings["max_word_length"])
    env.seed(1)  # the search takes its bearings at the start: at the same one in every process
    env.reset()

    @functools.cache
    def usage(verb: str) -> int:
        return int(verb_usage_count(verb, width))

    def rank(action: str) -> tuple[int, int, int, str]:
        """Fewest words first, "all" last; then the most common verb, the shortest, the first."""
        words = action.split()
        return (len(words) + 10 * ("all" in words), -usage(words[0]), len(action), action)

    texts = [text for text in env.act_gen.templates if text.split()[0] not in META or " " in text]
    words = [
        (word.word, word.is_noun, word.is_adj) for word in env.get_dictionary() if not word.is_dir
    ]
    return Search(engine, templates(story, texts, width, rank), words, width, rank)


def _clean_command(action: str) -> str:
    plain = unicodedata.normalize("NFKD", action.replace("\u2019", "'")).encode("ascii", "ignore")
    return " ".join(re.sub(r"[^ -~]|[\\#$]", " ", plain.decode("ascii")).split())


def _clean(text: str) -> str:
    """Return `text` with single spaces, no space at line ends, at most one blank line in a row."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n> ")
