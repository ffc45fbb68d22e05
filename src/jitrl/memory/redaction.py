"""Secrets are taken out of an episode before it is written: what is not stored cannot leak.

    redaction = DEFAULT.with_patterns(email=r"[\\w.+-]+@[\\w-]+\\.[\\w.]+")
    Learner("memory.db", redaction=redaction)

A secret becomes `[redacted:NAME]`, whatever it was, so that states stay comparable. What the
default patterns find, and what they leave alone, is told in docs/memory-packs.md.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from types import MappingProxyType

from jitrl.checks import text, texts
from jitrl.errors import InvalidValue
from jitrl.records import Episode, State, Step

_NAME = re.compile(r"[\w-]+", re.ASCII)
_MARK = re.compile(r"\[redacted:[\w-]+\]", re.ASCII)
_WORD = r"""[^\s"'<>&;,]"""
_NO_PASSWORD = (
    "none|null|nil|true|false|required|optional|unknown|missing|empty|hidden|incorrect|correct|"
    "invalid|valid|wrong|forgotten|expired|changed|accepted|rejected"
)
_PLAIN = r"""[^\s"'<>&;,:[]"""
_LAST = rf"(?!(?:{_NO_PASSWORD})\b){_PLAIN}{{4,128}}+(?<![.?!])[ \t]{{0,8}}(?:[\r\n]|\Z)"
_start, _end = itemgetter(0), itemgetter(1)


def _given(keys: str, otherwise: str = "") -> str:
    """Return the pattern of what is given to one of the keys, by `=` or by `:`.

    After `=` it is any value. After `:`, where prose goes on as well, it is a value in quotes, one
    that holds digits, or what `otherwise` says.
    """
    quoted = r"""(?(key)\\?["']|\\?["'][^\s"'\\]{4,}+\\?["'])"""
    digits = rf"(?={_WORD}{{0,64}}[0-9])(?={_WORD}{{0,64}}[a-z]|[0-9]{{6}}){_WORD}{{6}}"
    return (
        rf"""(?ai:(?:{keys})(?P<key>\\?["'])?+[ \t]{{0,4}}"""
        rf"(?::?=(?![=~>])[ \t]{{0,4}}|:[ \t]{{0,4}}(?={quoted}|{digits}{otherwise}))"
        r"""(?P<quote>\\?["'])?"""
        rf"(?P<secret>(?(quote)(?:(?!(?P=quote))(?:\\.|[^\r\n]))+|{_WORD}+)))"
    )


# A repetition without a bound ends in a match, or not behind where the next attempt may begin: so
# that a pass takes linear time, whatever the text.
DEFAULT_PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        "private-key": (
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?P<secret>"
            r"(?=(?:(?!-----)[\s\S]){0,2000}?[A-Za-z0-9+/=]{16})[^-]*+(?:-(?!----)[^-]*+)*+"
            r"(?=-----END)"
            r"|(?:(?:\s|\\[nr])*+[A-Za-z0-9+/=]{16,}+)++)"  # its end is cut off
        ),
        "aws-key": r"(?<![A-Za-z0-9])A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])",
        "anthropic-key": r"(?a:(?<![A-Za-z0-9])sk-ant-[\w-]{16,}+)",
        "openai-key": r"(?a:(?<![A-Za-z0-9])sk-(?=[\w-]{0,60}[0-9])[\w-]{20,}+)",
        "github-token": r"(?a:gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+)",
        "gitlab-token": r"(?a:(?<![A-Za-z0-9])gl(?:pat|dt|rt)-[\w-]{16,}+(?:\.[\w-]++)*+)",
        "slack-token": (
            r"xox[a-z]-[A-Za-z0-9-]{10,}+|xapp-[A-Za-z0-9-]{10,}+"
            r"|hooks\.slack\.com/[a-z]{1,20}/(?P<secret>[A-Za-z0-9/]{16,}+)"
        ),
        "google-key": r"(?a:AIza[\w-]{30,}+|ya29\.[\w-]{20,}+|GOCSPX-[\w-]{20,}+)",
        "stripe-key": r"[sr]k_(?:live|test)_[A-Za-z0-9]{10,}+|whsec_[A-Za-z0-9+/=]{16,}+",
        "huggingface-token": r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}+",
        "jwt": r"(?a:(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{8,}+(?:\.[\w-]*+){1,3})",
        "authorization": (
            r"""(?ai:authorization(?:\\?["'])?[ \t]{0,4}[:=][ \t]{0,4}(?:\\?["'])?"""
            r"(?:(?:basic|bearer|token|apikey|negotiate)[ \t]{1,4}(?=[\w.~+/=-]{6})"
            r"(?=.(?-i:[a-z._~+/-]{0,64}[A-Z0-9=]))"
            r"|(?=[\w.~+/=-]{0,64}[0-9])(?=[\w.~+/=-]{16}))(?P<secret>[\w.~+/=-]++))"
        ),
        "bearer": (
            r"(?ai:\bbearer[ \t]{1,4}(?=[\w.~+/=-]{0,64}[0-9]|[\w.~+/=-]{24})"
            r"(?P<secret>[\w.~+/=-]{16,}+))"
        ),
        "url-password": r"""://[^\s/?#:@"'<>]*+:(?P<secret>[^\s/?#"'<>]+)@""",
        "password": _given("password|passwd|passphrase", "|" + _LAST),
        "secret": _given("secret(?:[ _-]?(?:access[ _-]?)?key)?|token|(?:api|access)[ _-]?key"),
    }
)
"""Name of a kind of secret -> regular expression that finds it."""

_HINTS = {  # name -> of these, in lower case, a text holds one wherever the pattern finds anything
    "private-key": ("private key",),
    "aws-key": ("akia", "asia"),
    "anthropic-key": ("sk-",),
    "openai-key": ("sk-",),
    "github-token": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    "gitlab-token": ("glpat-", "gldt-", "glrt-"),
    "slack-token": ("xox", "xapp-", "hooks.slack.com"),
    "google-key": ("aiza", "ya29.", "gocspx-"),
    "stripe-key": ("k_live_", "k_test_", "whsec_"),
    "huggingface-token": ("hf_",),
    "jwt": ("eyj",),
    "authorization": ("authorization",),
    "bearer": ("bearer",),
    "url-password": ("://",),
    "password": ("passw", "passphrase"),
    "secret": (
        *("secret", "token", "apikey", "api key", "api_key", "api-key"),
        *("accesskey", "access key", "access_key", "access-key"),
    ),
}


class Redaction:
    """What is taken out, by name.

    patterns  name -> regular expression: of what it finds the group named `secret`, or else all of
              it, is replaced by `[redacted:name]`; in the order given, until nothing is found

    To redact twice is to redact once. A pattern of your own should take linear time: it sees every
    text of every state. Raises InvalidValue for a name or a regular expression that cannot be one.

    >>> DEFAULT.text("login?user=bob&password=hunter2")
    'login?user=bob&password=[redacted:password]'
    """

    __slots__ = ("_expressions", "_hints", "_rare", "patterns")

    def __init__(self, patterns: Mapping[str, str] = DEFAULT_PATTERNS) -> None:
        self.patterns: Mapping[str, str] = MappingProxyType(texts("patterns", patterns))
        self._expressions = {name: _compiled(name, self.patterns[name]) for name in self.patterns}
        self._hints = {
            name: hints
            for name, hints in _HINTS.items()
            if self.patterns.get(name) == DEFAULT_PATTERNS[name]
        }
        self._rare: dict[str, set[str]] = {}  # rare character -> hints that hold it; "" -> others
        for hint in chain.from_iterable(self._hints.values()):
            self._rare.setdefault(next(filter(hint.count, "_-:."), ""), set()).add(hint)

    def with_patterns(self, **patterns: str) -> Redaction:
        """Return a redaction that knows these as well, or instead of those of the same name."""
        return Redaction({**self.patterns, **patterns})

    def text(self, text: str) -> str:
        """Return a text without its secrets."""
        names = self._wanted([text])
        while names:
            before = text
            for name in names:
                text = _replaced(name, self._expressions[name], text)
            names = self._wanted([text]) if text != before else []
        return text

    def state(self, state: State) -> State:
        """Return a state without the secrets in its texts; names of fields stay."""
        if not self._wanted(state.values()):
            return state
        return State(**{name: self.text(held) for name, held in state.items()})

    def id(self, id: str) -> str:
        """Return the id of an episode; raises InvalidValue where it holds a secret."""
        clean = self.text(id)
        if clean != id:
            raise InvalidValue("id", clean, "must not hold a secret")
        return id

    def episode(self, episode: Episode) -> Episode:
        """Return an episode without secrets in states, actions, task and provenance.

        Of actions that become equal the probabilities are added. Raises InvalidValue for an id that
        holds a secret, or an episode that holds something else where a text should be.
        """
        self.id(episode.id)
        try:
            if not self._wanted(set(_texts(episode))):
                return episode
            final = episode.final_state
            return replace(
                episode,
                task=self.text(episode.task),
                steps=tuple(self._step(step) for step in episode.steps),
                final_state=None if final is None else self.state(final),
                provenance={name: self.text(held) for name, held in episode.provenance.items()},
            )
        except (TypeError, AttributeError) as error:
            raise InvalidValue("episode", episode.id, f"must hold texts ({error})") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Redaction):
            return NotImplemented
        return list(self.patterns.items()) == list(other.patterns.items())

    def __hash__(self) -> int:
        return hash(tuple(self.patterns.items()))

    def __repr__(self) -> str:
        return f"<Redaction of {', '.join(self.patterns) or 'nothing'}>"

    def __reduce__(self) -> tuple[object, ...]:
        return Redaction, (dict(self.patterns),)

    def _wanted(self, given: Iterable[str]) -> list[str]:
        """Return the names of the patterns that may find something in these texts."""
        joined = "\0".join(given).lower()
        hints = [h for rare, some in self._rare.items() if rare in joined for h in some]
        found = {hint for hint in hints if hint in joined}
        return [
            name
            for name in self.patterns
            if name not in self._hints or not found.isdisjoint(self._hints[name])
        ]

    def _step(self, step: Step) -> Step:
        return replace(
            step,
            state=self.state(step.state),
            action=self.text(step.action),
            before=self._policy(step.before),
            after=self._policy(step.after),
        )

    def _policy(self, policy: Mapping[str, float]) -> Mapping[str, float]:
        if not self._wanted(policy):
            return policy
        added: dict[str, float] = {}
        for action, probability in policy.items():
            name = self.text(action)
            added[name] = added[name] + probability if name in added else probability
        return added


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    if not _NAME.fullmatch(name):
        raise InvalidValue("name of a pattern", name, "must be of letters, digits, - and _")
    try:
        return re.compile(text(f"pattern {name!r}", pattern))
    except (re.error, OverflowError, RecursionError) as error:
        rule = f"must be a regular expression ({error})"
        raise InvalidValue(f"pattern {name!r}", pattern, rule) from error


def _replaced(name: str, expression: re.Pattern[str], text: str) -> str:
    """Return the text with each secret that the expression finds replaced.

    A mark of redaction is whole: what lies in one is no secret, and what reaches into one takes it
    along. So every round leaves fewer characters outside marks, and rounds come to an end.
    """
    found = [_place(match) for match in expression.finditer(text)]
    if not found:
        return text
    marks = [mark.span() for mark in _MARK.finditer(text)]
    parts, done = [], 0
    for start, end in found:
        touched = marks[bisect_right(marks, start, key=_end) : bisect_left(marks, end, key=_start)]
        if touched:
            if touched[0][0] <= start and end <= touched[0][1]:
                continue
            start, end = min(start, touched[0][0]), max(end, touched[-1][1])
        if end > max(start, done):
            parts += [text[done : max(start, done)], f"[redacted:{name}]"]
            done = end
    return "".join([*parts, text[done:]])


def _place(match: re.Match[str]) -> tuple[int, int]:
    """Return where the secret lies: the group of that name, where it takes part."""
    start, end = match.span("secret" if "secret" in match.re.groupindex else 0)
    return match.span() if start < 0 else (start, end)


def _texts(episode: Episode) -> Iterator[str]:
    yield episode.task
    yield from episode.provenance.values()
    for step in episode.steps:
        yield step.action
        yield from chain(step.state.values(), step.before, step.after)
    if episode.final_state is not None:
        yield from episode.final_state.values()


DEFAULT = Redaction()
