"""The exceptions of jitrl.

    JitrlError
    ├── InvalidValue (also ValueError)      a value that cannot be right; says which, and what to do
    │   └── UnknownName (also KeyError)     no preset, world, estimator ... of that name
    ├── EpisodeError                        choose/record/outcome called out of turn
    ├── StoreError                        the memory cannot do what was asked
    │   ├── NotAMemory                      the file is something else, or damaged
    │   ├── NewerMemory                     written by a later version of jitrl
    │   ├── MemoryUnavailable               locked, read-only, full disk, missing folder
    │   └── BadPack                         the file is no pack, is damaged, or asks too much
    ├── MissingExtra                        an optional package is not installed
    ├── WorldError                          a world cannot be opened or stepped
    ├── ModelError                          a language model cannot do what was asked
    │   ├── ModelUnavailable                it cannot be reached, hangs, or is overloaded
    │   ├── RequestRejected                 it says no: key, name, context, an option it lacks
    │   ├── BadReply                        what it said cannot be used; nothing is made up instead
    │   └── NotRecorded                     the recording does not hold this request
    ├── BadPlan                             a study cannot be planned so
    ├── BudgetSpent                         the money or the tokens allowed are spent
    └── RunError                            a run folder cannot be written
        └── BadRun                          it is no run, is damaged, or is another run than wanted

Catch `JitrlError` for everything of ours. A message is one line: the value, and the remedy.

    >>> from jitrl.errors import InvalidValue
    >>> raise InvalidValue("gamma", 1.5, "must lie in [0, 1]")
    Traceback (most recent call last):
    ...
    jitrl.errors.InvalidValue: gamma must lie in [0, 1], actual value: 1.5
"""

from __future__ import annotations

from difflib import get_close_matches

_MANY = 20  # names that a message may list


class JitrlError(Exception):
    """Everything that jitrl raises on purpose."""


class InvalidValue(JitrlError, ValueError):
    """A value that cannot be right. `name` and `value` are kept as attributes."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        shown = " ".join(repr(value).split())
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"{name} {rule}, actual value: {shown}")
        self.name = name
        self.value = value
        self.rule = rule

    def __reduce__(
        self,
    ) -> tuple[object, ...]:  # made again from its parts, in another process as well
        return type(self), (self.name, self.value, self.rule)


class UnknownName(InvalidValue, KeyError):
    """Nothing is registered under that name."""

    def __init__(self, kind: str, name: object, known: list[str]) -> None:
        rule = f"must be one of: {', '.join(known)}" if known else "cannot be named: there is none"
        if len(known) > _MANY:
            near = get_close_matches(str(name), known, n=5, cutoff=0.5)
            meant = f"did you mean {' or '.join(near)}" if near else f"{', '.join(known[:5])} ..."
            rule = f"must be one of {len(known)}: {meant}"
        super().__init__(kind, name, rule)
        self.known = known

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.value, self.known)

    __str__ = Exception.__str__  # KeyError would print the repr


class EpisodeError(JitrlError):
    """The live episode was used out of turn."""


class StoreError(JitrlError):
    """The memory cannot do what was asked."""


class NotAMemory(StoreError):
    """The file is not a memory of jitrl, or it is damaged."""


class NewerMemory(StoreError):
    """The memory was written by a later version of jitrl."""


class MemoryUnavailable(StoreError):
    """The memory cannot be opened or written: missing folder, no rights, full disk, lock."""


class BadPack(StoreError):
    """The file is no pack of episodes, is damaged, or goes beyond what may be read."""


class WorldError(JitrlError):
    """A world cannot be opened or stepped."""


class MissingExtra(JitrlError):
    """An optional package is not installed; the message names the extra."""


class ModelError(JitrlError):
    """A language model cannot do what was asked."""


class ModelUnavailable(ModelError):
    """The model cannot be reached, does not answer in time, or is overloaded, after retries."""


class RequestRejected(ModelError):
    """The model refuses the request as it is: wrong key, unknown model, context too long ..."""


class BadReply(ModelError):
    """What the model said cannot be used, and nothing is made up in its place."""


class NotRecorded(ModelError):
    """The recording that is replayed does not hold this request."""


class BadPlan(JitrlError):
    """The plan of a study says what cannot be meant."""


class BudgetSpent(JitrlError):
    """The money or the tokens that a run may use are spent."""


class RunError(JitrlError):
    """A run folder cannot be written."""


class BadRun(RunError):
    """The folder is no run, is damaged, or holds another run than the one that is wanted."""
