"""The benchmark's own evaluators, run from their own files with what they import put in place.

Imported as they are, WebArena's evaluators import its agents, its browser and three clients of
language models (gigabytes), read addresses from variables once for the whole process, download
data, and call a model of one provider when an answer is not exact. Their code is not changed here:
it is run with these names given by us.

    addresses, accounts   of this benchmark; nothing is read from variables
    the grader's model    a function that the user names
    sleep                 a pause that may be shortened for sites of one's own
    word_tokenize         NLTK's, without the data that it would have to download
    eval                  refuses: expressions are read by `expressions`
"""

from __future__ import annotations

import builtins
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

from jitrl.errors import MissingExtra, WorldError
from jitrl.worlds import Grader
from jitrl.worlds.browser.arena.expressions import HELPERS
from jitrl.worlds.browser.arena.packages import IMPORTED, PACKAGES
from jitrl.worlds.browser.arena.sites import SITES, Account

__all__ = ["Evaluators", "load", "sentences", "tokenize"]

_LOADS = itertools.count()


class Evaluators:
    """A benchmark's own evaluators.

    route    path of a task's file -> its evaluator, called with (trajectory, path, page, client)
    page     class of what stands for a page: takes a page and its URL
    helpers  name -> function that a task file's expressions may call
    """

    def __init__(self, evaluators: ModuleType, helpers: ModuleType) -> None:
        self.route: Callable[[str], Callable[..., float]] = evaluators.evaluator_router
        self.page: type[Any] = helpers.PseudoPage
        self.helpers: Mapping[str, Callable[..., Any]] = {
            name: getattr(helpers, name) for name in HELPERS
        }


def load(
    kind: str,
    addresses: Mapping[str, str],
    accounts: Mapping[str, Account],
    grader: Grader,
    sleep: Callable[[float], object] = time.sleep,
) -> Evaluators:
    """Return the evaluators of "webarena" or "webarena-lite". Raises MissingExtra without them."""
    package = PACKAGES[kind]
    folder = package.path(package.evaluators)
    try:
        import nltk.tokenize  # noqa: F401  (later would be in the midst of a verdict)
    except ImportError as error:
        raise _missing(error) from error

    def complete(messages: Sequence[Mapping[str, str]], **_: object) -> str:
        return grader(messages)  # not told: names and limits of one provider's model

    places = {label.upper(): addresses.get(label, "") for label in SITES}
    logins = {
        label: {"username": account.username, "password": account.password}
        for label, account in accounts.items()
    }
    given: dict[str, Any] = {
        "webarena.browser_env": SimpleNamespace(Action=dict, StateInfo=dict),
        "webarena.browser_env.actions": SimpleNamespace(Action=dict),
        "webarena.browser_env.utils": SimpleNamespace(StateInfo=dict),
        "webarena.browser_env.env_config": SimpleNamespace(ACCOUNTS=logins, **places),
        "webarena.llms.providers.openai_utils": SimpleNamespace(
            generate_from_openai_chat_completion=complete
        ),
        "nltk.tokenize": SimpleNamespace(word_tokenize=tokenize),
        "time": SimpleNamespace(sleep=sleep),
    }
    name = package.evaluators.replace("/", ".")
    helpers = _run(folder / "helper_functions.py", name, given)
    given[f"{name}.helper_functions"] = helpers
    return Evaluators(_run(folder / "evaluators.py", name, given), helpers)


def _run(path: Path, package: str, given: Mapping[str, Any]) -> ModuleType:
    """Run one of their files as a module that nobody else sees."""

    def importing(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        base = package.split(".")[: len(package.split(".")) + 1 - level] if level else []
        whole = ".".join([*base, name])
        if whole in given:
            return given[whole]
        if level:
            raise WorldError(f"{path} imports {whole}, which is not known here: another version?")
        return __import__(name, globals, locals, fromlist, level)

    # beartype takes classes of one name for one class, though they were made by two loads.
    module = ModuleType(f"{package}.{path.stem}_{next(_LOADS)}")
    known = {**vars(builtins), "__import__": importing, "eval": _refuse}
    module.__dict__.update(__file__=str(path), __builtins__=known)
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except OSError as error:
        raise WorldError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except ImportError as error:
        raise _missing(error) from error
    return module


def _missing(error: ImportError) -> MissingExtra:
    name = "'jitrl[webarena]'" if error.name in IMPORTED else error.name
    return MissingExtra(f"{error.name} is not installed: pip install {name}")


def _refuse(*_: object) -> NoReturn:
    raise WorldError("an evaluator wanted to evaluate an expression: another version of it?")


def tokenize(text: str) -> list[str]:
    """Return the words of a text as NLTK's `word_tokenize` does, sentence by sentence.

    Where NLTK's model of sentence ends, punkt_tab, is not installed, sentences end where the same
    algorithm finds them without a model: it knows no abbreviations then.
    """
    from nltk.tokenize import NLTKWordTokenizer

    words = NLTKWordTokenizer()
    return [word for sentence in _split(text) for word in words.tokenize(sentence)]


def sentences() -> str:
    """Return what ends of sentences are found by, for the version of a run."""
    import nltk.data

    try:
        nltk.data.find("tokenizers/punkt_tab/english")
    except LookupError:
        return "punkt without its data"
    return "punkt_tab"


def _split(text: str) -> list[str]:
    from nltk.tokenize import PunktSentenceTokenizer, sent_tokenize

    if sentences() == "punkt_tab":
        return list(sent_tokenize(text))
    return list(PunktSentenceTokenizer().tokenize(text))
