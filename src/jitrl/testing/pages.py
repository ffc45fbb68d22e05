"""A made-up page and the reader of its actions: web worlds without a web, for tests.

>>> page = Page({"3": ("button", "OK"), "4": ("textbox", "Name")})
>>> print(page.text)
[3] button 'OK'
[4] textbox 'Name'
>>> page.read('click("3")')
'click(button("OK"))'
>>> page.executable('click(button("Cancel"))')
False
>>> page.written('click(button("OK"))')
'click("3")'
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from jitrl.errors import InvalidValue

__all__ = ["Page"]

_CLICK = re.compile(r"""click\((["'])(?P<id>\w+)\1\)""")
_FILL = re.compile(r"""fill\((["'])(?P<id>\w+)\1, (?P<value>".*"|'.*')\)""")
_SEND = re.compile(r"""send_msg_to_user\((?P<value>".*"|'.*')\)""")


@dataclass(frozen=True)
class Page:
    """Elements by the ids that the page shows: a `jitrl.records.ActionReader` of three actions.

    elements  id -> (role, accessible name)
    """

    elements: Mapping[str, tuple[str, str]]

    guide = (
        'click("12") clicks the element [12]\n'
        'fill("12", "some text") writes into it, if it is a textbox\n'
        'send_msg_to_user("some text") answers the user, and ends the task'
    )

    @property
    def text(self) -> str:
        """The page as a model sees it."""
        return "\n".join(f"[{id}] {role} {name!r}" for id, (role, name) in self.elements.items())

    @property
    def clicks(self) -> tuple[str, ...]:
        """A click on each element, as it is remembered."""
        return tuple(f"click({self._target(id)})" for id in self.elements)

    def read(self, written: str) -> str:
        """Return the action with the element's role and name in the place of its id."""
        if found := _CLICK.fullmatch(written.strip()):
            return f"click({self._target(found['id'])})"
        if found := _FILL.fullmatch(written.strip()):
            return f"fill({self._target(found['id'])}, {_text(found['value'])})"
        if found := _SEND.fullmatch(written.strip()):
            return f"send_msg_to_user({_text(found['value'])})"
        raise InvalidValue("action", written, 'must be a call such as click("12")')

    def executable(self, action: str) -> bool:
        """Say whether the element is here."""
        try:
            self.written(action)
        except InvalidValue:
            return False
        return True

    def written(self, action: str) -> str:
        """Return the action with the id in the place of the element's role and name."""
        if action.startswith("send_msg_to_user("):
            return action
        for id in self.elements:
            for name in ("click(", "fill("):
                begins = f"{name}{self._target(id)}"
                if action.startswith((f"{begins})", f"{begins}, ")):
                    return f"{name}{json.dumps(id)}{action.removeprefix(begins)}"
        raise InvalidValue("action", action, f"must be on an element of the page:\n{self.text}")

    def _target(self, id: str) -> str:
        if id not in self.elements:
            shown = ", ".join(self.elements)
            raise InvalidValue("element", id, f"must be one of those on the page: {shown}")
        role, name = self.elements[id]
        return f"{role}({json.dumps(name)})"


def _text(literal: str) -> str:
    return json.dumps(literal[1:-1])
