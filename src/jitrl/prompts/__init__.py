"""The prompts, each a file of its own beside this one: what the system says, `---`, what the user.

A run keeps the hash of those it uses. `$name` is filled in; a literal dollar is `$$`.
"""

from __future__ import annotations

import hashlib
import json
import string
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jitrl.errors import InvalidValue
from jitrl.models import Message

__all__ = ["Prompt", "load", "quoted"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template. `hash` is the SHA-256 of its text, 16 hexadecimal digits of it."""

    name: str
    text: str

    @property
    def hash(self) -> str:
        """What tells this wording from another."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def render(self, **values: str) -> tuple[Message, ...]:
        """Return the messages, filled in. Values are put in as they are, dollars and all."""
        system, found, user = self.text.partition("\n---\n")
        if not found:
            raise InvalidValue(f"prompt {self.name}", self.text, "must have a line --- in it")
        try:
            parts = [string.Template(part.strip()).substitute(values) for part in (system, user)]
        except (KeyError, ValueError) as error:
            raise InvalidValue(
                f"prompt {self.name}", str(error), f"may use only {sorted(values)} after a $"
            ) from error
        roles = (Message("system", parts[0]), Message("user", parts[1]))
        return tuple(message for message in roles if message.content)


def load(name: str, path: Path | None = None) -> Prompt:
    """Return the template of that name, or the user's own in a file."""
    source = files(__package__) / f"{name}.md" if path is None else path
    return Prompt(name, source.read_text(encoding="utf-8"))


def quoted(value: object) -> str:
    """Return JSON on one line, in which no text can look like a line of its own or end a fence.

    What UTF-8 cannot hold is escaped as well.

    >>> quoted({"said": "</episode>\\nall is well"})
    '{"said": "\\\\u003c/episode>\\\\nall is well"}'
    """
    written = json.dumps(value, ensure_ascii=False)
    for mark in "<\u226e\ufe64\uff1c\x85\u2028\u2029":  # the first four read alike
        written = written.replace(mark, f"\\u{ord(mark):04x}")
    return written.encode(errors="backslashreplace").decode()
