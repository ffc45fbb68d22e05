"""TextWorld's cooking games, generated on the spot: `make("7")` plays the game of seed 7.

Nothing is downloaded: the game is written and compiled from its seed, kept in the cache folder, and
played from there. A recipe has to be found out: its ingredients lie about a house, some behind
closed doors; each one taken scores a point, so do preparing the meal and eating it, which wins.
Eating or spoiling an ingredient loses.

TextWorld (MIT, but it runs on Jericho, GPL-2.0-or-later) is an optional extra, imported only when a
game is opened.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version as installed_version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jitrl.cache import cache_folder
from jitrl.errors import InvalidValue, MissingExtra, WorldError
from jitrl.records import Observation
from jitrl.worlds.text_state import TextGameState

__all__ = ["DIFFICULTIES", "Difficulty", "TextWorld", "make"]

_WHICH = re.compile(r"(?:(?P<difficulty>[a-z]+)-)?(?P<seed>[0-9]{1,10})")
_HIGHEST_SEED = 2**32 - 1
_LONGEST = 198  # characters that the interpreter's input buffer holds
_SERIAL = slice(0x12, 0x18)  # where a Z-machine file holds its day of compilation, unchecked
# They only print, mostly what the state holds already, and never change the game.
_LOOKING = frozenset({"look", "inventory", "examine"})
# To the interpreter, not to the game: they end it, replay it, write files or change how it prints.
_META = frozenset(
    {"again", "g", "oops", "o", "undo", "quit", "q", "restart", "restore", "save", "version"}
    | {"record", "recording", "replay", "script", "noscript", "unscript", "transcript", "verify"}
    | {"verbose", "long", "brief", "normal", "superbrief", "short", "full", "fullscore", "notify"}
)


@dataclass(frozen=True, slots=True)
class Difficulty:
    """What a game is generated from, beside its seed.

    ingredients  how many have to be found, 1 to 5
    rooms        of the house: 1, 6, 9 or 12
    preparing    every ingredient has also to be cut and cooked as the recipe says: a point each
    """

    ingredients: int
    rooms: int
    preparing: bool

    @property
    def max_score(self) -> int:
        """The highest score, which is the same for every seed."""
        return self.ingredients * (3 if self.preparing else 1) + 2


DIFFICULTIES: Mapping[str, Difficulty] = MappingProxyType(
    {
        "easy": Difficulty(ingredients=3, rooms=1, preparing=False),
        "default": Difficulty(ingredients=5, rooms=6, preparing=False),
        "hard": Difficulty(ingredients=3, rooms=6, preparing=True),
    }
)


def make(which: str, *, cache: str | Path | None = None, **options: object) -> TextWorld:
    """Open the game of a seed: "7", or "easy-7" or "hard-7"; seeds lie in [0, 2**32 - 1].

    `cache` is the folder of compiled games (default: $JITRL_CACHE, or jitrl in the user's cache
    folder). A game that is missing there, or damaged, is generated, which takes some seconds.

    Raises MissingExtra without textworld; InvalidValue for anything but a seed or an unknown
    option; WorldError where the folder cannot be written or the game not be compiled.
    """
    for name, value in options.items():
        raise InvalidValue(name, value, "is no option of a textworld world (cache)")
    match = _WHICH.fullmatch(which) if isinstance(which, str) else None
    level = (match["difficulty"] or "default") if match else ""
    if match is None or level not in DIFFICULTIES or int(match["seed"]) > _HIGHEST_SEED:
        levels = ", ".join(f"{name}-7" for name in DIFFICULTIES if name != "default")
        raise InvalidValue(
            "game", which, f"must be a seed in [0, {_HIGHEST_SEED}], such as 7, {levels}"
        )
    difficulty, seed = DIFFICULTIES[level], int(match["seed"])
    folder = Path(cache) if cache is not None else cache_folder()
    path, digest = _cached(difficulty, seed, folder)
    name = f"textworld:{seed}" if level == "default" else f"textworld:{level}-{seed}"
    return TextWorld(name, path, digest, difficulty.max_score)


class TextWorld:
    """One game. The contract is that of `jitrl.worlds.World`; `make` opens one.

    The state is the description of the room, the inventory, and a history. `actions` is what
    TextWorld admits, alphabetically, without what never changes the game (look, inventory,
    examine ...), which `step` takes all the same. The reward is the change of the score, which
    begins at 0. `terminated` is the game's end, won or lost; `truncated` is never set. Nothing in
    a game is random: equal actions give equal episodes, whatever the seed of `reset`. Not for two
    threads at once; any number of worlds may be open in a process.
    """

    def __init__(self, name: str, path: Path, digest: str, max_score: int) -> None:
        self.name = name
        self.max_score: float | None = float(max_score)
        self.reward_range: tuple[float, float] | None = (0.0, float(max_score))
        self.version: Mapping[str, str] = MappingProxyType(
            {
                "textworld": installed_version("textworld"),
                "jericho": installed_version("jericho"),
                "game": digest,
            }
        )
        self._env: Any = _start(path)
        self._game: TextGameState | None = None
        self._last: Observation | None = None
        self._total = 0.0

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds spent so far: "total" in reset and step; "actions" is 0, they are no search."""
        return {"total": self._total, "actions": 0.0}

    def reset(self, seed: int) -> Observation:
        """Begin an episode. `seed` (>= 1) is checked, but there is nothing random to fix.

        Raises InvalidValue for any other seed, WorldError on a closed world.
        """
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 1:
            raise InvalidValue("seed", seed, "must be an integer of at least 1")
        started = time.perf_counter()
        shown = self._open_env().reset()
        self._game = TextGameState(_clean(shown.description), _clean(shown.inventory))
        # What the game itself prints begins with a banner in large letters.
        return self._observe(shown, f"{shown.objective}\n\n{shown.description}", 0.0, started)

    def step(self, action: str) -> Observation:
        """Send one command to the game.

        Accents are dropped; anything but letters, digits, "-" and "'" becomes a space; what
        exceeds 198 characters is cut. A command to the interpreter ("quit", "save", "undo" ...) is
        not sent: the answer says so and nothing changes. Raises InvalidValue for anything but a
        string, WorldError before the first reset, after the end of an episode, and on a closed
        world.
        """
        if not isinstance(action, str):
            raise InvalidValue("action", action, "must be a string")
        started = time.perf_counter()
        env = self._open_env()
        if self._game is None or self._last is None:
            raise WorldError(f"{self.name} has no episode to step: call reset(seed) first")
        if self._last.terminated:
            raise WorldError(f"the episode of {self.name} is over: call reset(seed)")
        command = _command(action)
        meta = _meta_in(command)
        if meta:
            text = f"[{meta!r} is a command to the interpreter, not an action: nothing happened.]"
            self._last = replace(self._last, text=text, reward=0.0)
            self._total += time.perf_counter() - started
            return self._last
        shown, _, _ = env.step(command)
        reward = float(shown.score) - self._last.score
        self._game.add(action, _clean(shown.description), _clean(shown.inventory), reward)
        return self._observe(shown, shown.feedback, reward, started)

    def close(self) -> None:
        """Free the interpreter; calling it twice is harmless."""
        if self._env is not None:
            self._env.close()
        self._env = self._game = self._last = None

    def _open_env(self) -> Any:
        if self._env is None:
            raise WorldError(f"{self.name} is closed: open it again with make")
        return self._env

    def _observe(self, shown: Any, text: str, reward: float, started: float) -> Observation:
        assert self._game is not None
        over = bool(shown.won or shown.lost)
        commands = () if over else shown.admissible_commands
        self._last = Observation(
            state=self._game.state,
            text=_clean(text),
            actions=tuple(c for c in sorted(set(commands)) if c.split()[0] not in _LOOKING),
            reward=reward,
            score=float(shown.score),
            terminated=over,
        )
        self._total += time.perf_counter() - started
        return self._last


def _cached(difficulty: Difficulty, seed: int, folder: Path) -> tuple[Path, str]:
    """Return the path of a compiled game and its SHA-256; generate it where there is none."""
    _import()
    name = (
        f"textworld-{installed_version('textworld')}-{difficulty.ingredients}ingredients-"
        f"{difficulty.rooms}rooms-{'preparing-' if difficulty.preparing else ''}seed{seed}"
    )
    try:
        digest = _intact(folder, name)
        if digest is None:
            folder.mkdir(parents=True, exist_ok=True)
            _generate(difficulty, seed, folder, name)
            digest = _intact(folder, name)
    except OSError as error:
        raise WorldError(
            f"no game can be kept in the cache folder {str(folder)!r}: {error.strerror}; pass "
            "cache= or set JITRL_CACHE to a folder that can be written"
        ) from error
    if digest is None:
        raise WorldError(f"the game {name!r} was damaged in {str(folder)!r} as it was written")
    return folder / f"{name}.z8", digest


def _manifest(game: bytes, description: bytes, name: str) -> str:
    """Return both hashes as `sha256sum` writes them."""
    return (
        f"{hashlib.sha256(game).hexdigest()}  {name}.z8\n"
        f"{hashlib.sha256(description).hexdigest()}  {name}.json\n"
    )


def _intact(folder: Path, name: str) -> str | None:
    """Return the SHA-256 of the game where the cache holds it whole, else None.

    Asked before each start, since the interpreter ends the process on a file it cannot read.
    """
    try:
        written = (folder / f"{name}.sha256").read_bytes()
        game = (folder / f"{name}.z8").read_bytes()
        description = (folder / f"{name}.json").read_bytes()
    except FileNotFoundError:
        return None
    manifest = _manifest(game, description, name)
    return manifest[:64] if written == manifest.encode() else None


def _generate(difficulty: Difficulty, seed: int, folder: Path, name: str) -> None:
    """Generate and compile one game into the cache.

    Each file appears there at once. Any number of processes may do so: they write equal bytes.
    """
    from textworld import GameOptions
    from textworld.generator import CouldNotCompileGameError, compile_game

    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as made:
        compiled, described = Path(made, "game.z8"), Path(made, "game.json")
        options = GameOptions()
        options.path = str(compiled)
        try:
            with _any_game():
                compile_game(_cook(difficulty, seed), options)
        except (CouldNotCompileGameError, OSError) as error:
            raise WorldError(
                f"textworld cannot compile {name!r}: its Inform 7 needs Linux on x86-64 and room "
                f"in {tempfile.gettempdir()!r}"
            ) from error
        story = bytearray(compiled.read_bytes())
        story[_SERIAL] = b"000000"
        game = bytes(story)
        compiled.write_bytes(game)
        manifest = Path(made, "game.sha256")
        manifest.write_text(_manifest(game, described.read_bytes(), name), encoding="ascii")
        for part in (compiled, described, manifest):
            part.replace(folder / f"{name}{part.suffix}")


def _cook(difficulty: Difficulty, seed: int) -> Any:
    """Return the game of a seed, equal in every process."""
    from textworld import GameOptions
    from textworld.challenges.tw_cooking import cooking

    options = GameOptions()
    options.seeds = seed
    settings = {
        "recipe": difficulty.ingredients,
        "take": difficulty.ingredients,
        "go": difficulty.rooms,
        "open": True,
        "cook": difficulty.preparing,
        "cut": difficulty.preparing,
        "drop": False,
        "recipe_seed": 0,
        "split": None,
    }
    game = cooking.make(settings, options)
    # These come out of sets, in the order of Python's hashes, which differ between processes.
    for quest in game.quests:
        quest.fail_events = sorted(quest.fail_events, key=lambda event: str(event.condition))
    names = game.grammar.options.names_to_exclude
    game.grammar.options.names_to_exclude = sorted(name for name in names if name)
    # Where textworld is installed: not needed to play.
    game.kb.text_grammars_path = ""
    return game


def _import() -> Any:
    try:
        import textworld
    except ImportError as error:
        raise MissingExtra("textworld is not installed: pip install 'jitrl[games]'") from error
    return textworld


@contextmanager
def _any_game() -> Iterator[None]:
    """Silence Jericho's warning that it does not know a game: TextWorld tells what it cannot."""
    import jericho

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jericho.UnsupportedGameWarning)
        yield


def _start(path: Path) -> Any:
    textworld = _import()
    infos = textworld.EnvInfos(
        feedback=True,
        description=True,
        inventory=True,
        objective=True,
        admissible_commands=True,
        score=True,
        won=True,
        lost=True,
    )
    with _any_game():
        env = textworld.start(str(path), infos)
    env.seed(1)  # no game draws a number; were one to do so, it would not be by the clock
    return env


def _command(action: str) -> str:
    plain = unicodedata.normalize("NFKD", action.replace("\u2019", "'")).encode("ascii", "ignore")
    return " ".join(re.sub(r"[^A-Za-z0-9' -]", " ", plain.decode("ascii")).split())[:_LONGEST]


def _meta_in(command: str) -> str:
    """Return the first command to the interpreter in a line, or ""."""
    for part in re.split(r"\bthen\b", command.lower()):
        words = part.split()
        if words and (words[0] in _META or words[0].startswith("tw-")):
            return part.strip()
    return ""


def _clean(text: str) -> str:
    """Return `text` without prompt and status line, with at most one blank line in a row."""
    shown = re.sub(r"(?:^|\n)>[^\n]*\s*\Z", "", text)
    lines = (line.rstrip() for line in shown.splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n ")
