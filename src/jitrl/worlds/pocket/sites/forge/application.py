"""Two applications behind one port: klaus for the repositories, Django for all else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import klaus
from jinja2 import ChoiceLoader, FileSystemLoader, PrefixLoader

from jitrl.worlds.pocket.sites.forge.fill import REPOSITORIES

__all__ = ["beside"]

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
_OURS = ("/users/", "/-/", "/dashboard/", "/static/pocket/")


def _day(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"on {moment:%-d %B %Y}"


def _as_text(endpoint: str, values: dict[str, Any]) -> None:
    """Let names of files in links be text: klaus 3.0.1 has bytes on the page of a commit."""
    for name, value in values.items():
        if isinstance(value, bytes):
            values[name] = value.decode(errors="replace")


def beside(pages: Application, folder: Path) -> Application:
    """Return an application that asks `pages` for its own paths, and klaus for the rest.

    Ours are those that begin like `_OURS`, and those of a project beside its files: `/NAME/-/...`
    """
    paths = sorted((folder / REPOSITORIES).iterdir())
    browser = klaus.make_app([str(path) for path in paths], "Pocket Forge")
    browser.url_defaults(_as_text)
    browser.jinja_env.filters["timesince"] = _day  # "3 days ago" would be another page tomorrow
    templates = Path(__file__).parent.parent / "templates"
    theirs = browser.jinja_loader
    browser.jinja_env.loader = ChoiceLoader(
        [FileSystemLoader(templates / "klaus"), theirs, PrefixLoader({"klaus": theirs})]
    )

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        ours = path.startswith(_OURS) or "/-/" in path
        chosen = pages if ours else browser
        return chosen(environ, start_response)

    return application
