"""What a browser sent and received during an attempt, as a HAR file that can be judged.

Playwright records it, and writes it when the context is closed: so the context is closed before the
verdict. (Its tracer, which can be stopped at any time, loses headers and cookies of answers that
are still on their way to it.) Images and scripts are left out: nobody judges them, and they are
most of what goes over the wire.
"""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jitrl.errors import WorldError

__all__ = ["har", "now", "options"]

_LIST = "har.har"
_TEXTS = ("text/", "application/json", "application/x-www-form-urlencoded", "multipart/form-data")


def options(file: Path) -> dict[str, Any]:
    """Return what a new context is given to record into a file (.zip)."""
    return {
        "record_har_path": str(file),
        "record_har_content": "attach",  # each body once, beside the list of requests
        "record_har_mode": "full",
    }


def now() -> str:
    """Return the time as a HAR has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def har(file: Path, since: str = "") -> dict[str, Any]:
    """Return what was recorded as a HAR: the requests that began at `since` or later.

    Raises WorldError for a file that is no such record.
    """
    try:
        with zipfile.ZipFile(file) as record:
            content = json.loads(record.read(_LIST))
            entries = [e for e in content["log"]["entries"] if e["startedDateTime"] >= since]
            for entry in entries:
                _put_in(record, entry["request"].get("postData"))
                _put_in(record, entry["response"].get("content"))
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise WorldError(f"{str(file)!r} is no record of a browser: {error}") from error
    content["log"]["entries"] = entries
    return dict(content)


def _put_in(record: zipfile.ZipFile, body: dict[str, Any] | None) -> None:
    """Put the text of a body, which lies in a file of its own, where a HAR has it."""
    name = body.pop("_file", None) if body else None
    if body and name and body.get("mimeType", "").startswith(_TEXTS):
        body["text"] = record.read(name).decode("utf-8", errors="replace")
