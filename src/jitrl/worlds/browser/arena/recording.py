"""What a browser sent and received during an attempt, as a HAR file that can be judged.

Playwright writes a HAR file when a context is closed; an attempt is judged before. So its tracer
listens, which can be stopped at any time, and the bodies that it keeps beside its list of requests
are put into it.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jitrl.errors import WorldError

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

__all__ = ["har", "start", "stop"]

_LIST = "trace.network"
_TEXTS = ("text/", "application/json", "application/x-www-form-urlencoded", "multipart/form-data")


def start(context: BrowserContext) -> None:
    """Listen to a context from now on; nothing else may trace it meanwhile."""
    context.tracing.start(snapshots=True)  # without them, Playwright lists no requests


def stop(context: BrowserContext, trace: Path) -> None:
    """Listen no longer, and write what was heard to a file of Playwright's (.zip)."""
    context.tracing.stop(path=trace)


def har(trace: Path) -> dict[str, Any]:
    """Return what a trace of Playwright's holds as a HAR, its requests in the order they began.

    Raises WorldError for a file that is no such trace.
    """
    try:
        with zipfile.ZipFile(trace) as file:
            lines = [json.loads(line) for line in file.read(_LIST).splitlines()]
            entries = [line["snapshot"] for line in lines if line["type"] == "resource-snapshot"]
            for entry in entries:
                _put_in(file, entry["request"].get("postData"))
                _put_in(file, entry["response"].get("content"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise WorldError(f"{str(trace)!r} is no trace of a browser: {error}") from error
    entries.sort(key=lambda entry: entry.get("_monotonicTime", 0.0))
    creator = {"name": "Playwright", "version": ""}
    return {"log": {"version": "1.2", "creator": creator, "entries": entries}}


def _put_in(file: zipfile.ZipFile, body: dict[str, Any] | None) -> None:
    """Put the text of a body, which lies in a file of its own, where a HAR has it."""
    name = body.pop("_sha1", None) if body else None
    if body and name and body.get("mimeType", "").startswith(_TEXTS):
        body["text"] = file.read(f"resources/{name}").decode("utf-8", errors="replace")
