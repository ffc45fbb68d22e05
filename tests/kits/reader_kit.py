"""Somebody who does things on a web site without a browser: follows links, fills in forms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode, urljoin

from lxml import html
from visitor_kit import Visitor


class Reader:
    """Reads one page at a time; what is named must be there, and once only."""

    def __init__(self, visitor: Visitor, path: str = "/") -> None:
        self._visitor = visitor
        self._open(path)

    @property
    def url(self) -> str:
        """Where the reader is."""
        return self._visitor.url

    def link(self, name: str) -> None:
        """Follow a link."""
        targets = {link.get("href") for link in self._page.iter("a") if _text(link) == name}
        (target,) = targets
        self._open(target)

    def fill(self, label: str, value: str) -> None:
        """Write into a field, or choose an option by its text."""
        field = self._field(label)
        if field.tag == "select":
            (value,) = (o.get("value", _text(o)) for o in field.iter("option") if _text(o) == value)
        field.value = value

    def uncheck(self, label: str) -> None:
        """Clear a box that is checked."""
        field = self._field(label)
        assert field.checked
        field.checked = False

    def button(self, name: str) -> None:
        """Send the form of a button."""
        (button,) = (
            found
            for found in self._page.xpath("//button | //input[@type='submit']")
            if name == (found.get("value") if found.tag == "input" else _text(found))
        )
        (form,) = button.iterancestors("form")
        pairs = [*form.form_values(), *([(button.name, name)] if button.get("name") else [])]
        address = form.get("action", "")
        if form.method == "POST":
            self._open(address, pairs)
        else:
            self._open(f"{address}?{urlencode(pairs)}")

    def beside(self, label: str) -> str:
        """Return the text that follows a label: in the same row, or as the next sibling."""
        inner = "*[normalize-space(.)=$label]"
        found = self._page.xpath(f"//body//{inner}[not({inner})]", label=label)
        return _text(found[0].getnext())

    def links_after(self, text: str) -> list[str]:
        """Return the names of all links that come after a text."""
        found = self._page.xpath("//body//*[normalize-space(.)=$text]", text=text)
        return [_text(link) for link in found[-1].xpath("following::a") if _text(link)]

    def _field(self, label: str) -> Any:
        named = self._page.xpath("//*[@aria-label=$label]", label=label)
        named += [each.for_element for each in self._page.iter("label") if _text(each) == label]
        (field,) = named
        return field

    def _open(self, address: str, form: list[tuple[str, str]] | None = None) -> None:
        path = urljoin(self._visitor.url, address).removeprefix(self._visitor.address)
        text = self._visitor.get(path, form)
        assert self._visitor.status == 200, f"{path}: {self._visitor.status}"
        self._page = html.document_fromstring(text)


def _text(element: Any) -> str:
    return " ".join(element.text_content().split())


def solve(reader: Reader, steps: Iterable[tuple[str, ...]], values: Mapping[str, str]) -> str:
    """Do the steps of a solution, parameters filled in; return what is said to the user."""
    answer = ""
    for kind, *words in steps:
        first, *rest = (word.format(**values) for word in words)
        match kind:
            case "fill" | "select":
                reader.fill(first, *rest)
            case "uncheck":
                reader.uncheck(first)
            case "link":
                reader.link(first)
            case "button":
                reader.button(first)
            case "follow":
                reader.link(reader.beside(first))
            case "tell":
                answer = reader.beside(first)
            case "list":
                answer = ", ".join(reader.links_after(first))
            case "first":
                answer = reader.links_after(first)[0]
            case "say":
                answer = first
    return answer
