"""WebArena's task files name helper functions in expressions: read here, never evaluated.

    func:reddit_get_post_url('__last_url__')
    func:gitlab_get_project_memeber_role(__page__, 'koush')

The page's URL, which whoever writes a page may choose, is a value here and never a part of code.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jitrl.errors import InvalidValue

__all__ = ["HELPERS", "Call", "parse"]

PREFIX = "func:"
_PAGE, _LAST_URL = "__page__", "__last_url__"
HELPERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "shopping_get_latest_order_url": (),
        "shopping_get_sku_latest_review_author": ("text",),
        "shopping_get_sku_latest_review_rating": ("text",),
        "reddit_get_post_url": ("text",),
        "gitlab_get_project_memeber_role": ("page", "text"),  # its name has this spelling
    }
)
"""The functions that an expression may call, and the kinds of their arguments."""


@dataclass(frozen=True, slots=True)
class Call:
    """A helper function with its arguments; None stands for the page."""

    function: str
    arguments: tuple[str | None, ...]

    def made(self, helpers: Mapping[str, Callable[..., Any]], page: Any, last_url: str) -> Any:
        """Return what the helper says of a page and of the URL where the agent ended."""
        return helpers[self.function](
            *(
                page if argument is None else argument.replace(_LAST_URL, last_url)
                for argument in self.arguments
            )
        )


def parse(expression: str) -> Call:
    """Read an expression, with or without "func:" before it.

    Raises InvalidValue for anything but one call of a known helper with literal texts.
    """
    written = expression.removeprefix(PREFIX).strip()
    rule = "must be one call of a known helper with texts as arguments"
    try:
        node = ast.parse(written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidValue("expression", expression, rule) from error
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.keywords:
        raise InvalidValue("expression", expression, rule)
    arguments = tuple(_argument(argument) for argument in node.args)
    kinds = tuple(kind for kind, _ in arguments)
    if HELPERS.get(node.func.id) != kinds:
        raise InvalidValue("expression", expression, rule)
    return Call(node.func.id, tuple(value for _, value in arguments))


def _argument(node: ast.expr) -> tuple[str, str | None]:
    match node:
        case ast.Constant(value=str(value)):
            return "text", value
        case ast.Name(id=name) if name == _PAGE:
            return "page", None
        case _:
            return "other", None
