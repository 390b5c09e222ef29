"""What an HTTP answer means that isn't what was asked for, and how foreign texts are made fit to be shown."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from csi_model.errors import (
    SourceBusy,
    SourceChanged,
    SourceDenied,
    SourceError,
    SourceInvalid,
    SourceUnauthenticated,
    SourceUnavailable,
)

_MAX_TEXT = 300
_MAX_WAIT = 86400.0  # seconds; whoever waits has limits of its own
_QUERY = re.compile(r"\?[^\s\"']+")
_TOKEN = re.compile(r"[A-Za-z0-9+=_%-]{40,}")
"""What a session token or a signature consists of: a server may repeat what it was sent."""
_GONE = (404, 410)
_REDIRECTS = range(300, 400)
_LATER = (407, 408, 425, *range(500, 600))


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that isn't the range that was asked for.

    Attributes:
        what: the URL, fit to be shown.
        status: the HTTP status.
        headers: by lower-case name.
        body: the beginning of the error page.

    """

    what: str
    status: int
    headers: Mapping[str, str]
    body: bytes


Explain = Callable[[Refusal], SourceError | None]
"""Gives the error for a refusal where its status says too little; None where it says enough."""


def bare(url: str) -> str:
    """Strip user, query and fragment off a URL: what remains may be shown."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:_MAX_TEXT]


def clean(text: str) -> str:
    """Make a foreign text fit to be shown: one short printable line without URL queries and what may be a token."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return _TOKEN.sub("…", _QUERY.sub("", " ".join(printable.split())))[:_MAX_TEXT]


def refused(refusal: Refusal, size: int, explain: Explain | None) -> SourceError:
    """Find the type and the words for an answer that refuses: the one table.

    Args:
        refusal: the answer.
        size: bytes that the whole object should have.
        explain: gives a better error than the status does, or None.

    """
    better = explain(refusal) if explain else None
    if better is not None:
        return better
    what, status, headers = refusal.what, refusal.status, refusal.headers
    if status in _GONE:
        return SourceChanged(f"{what} is gone: the source doesn't have the pinned bytes any more")
    if status in _REDIRECTS:
        place = bare(headers.get("location", "")) if "location" in headers else "another place"
        return SourceInvalid(f"{what} redirects to {place}: set endpoint and region to where it really lies")
    if status in (429, 503):
        return SourceBusy(f"{what} asks to slow down (HTTP {status})", retry_after(headers.get("retry-after", "")))
    if status in _LATER:
        return SourceUnavailable(f"{what} answers HTTP {status}")
    known: dict[int, tuple[type[SourceError], str]] = {
        200: (SourceInvalid, "ignores the Range header"),
        401: (SourceUnauthenticated, "wants credentials, or doesn't know those it got (HTTP 401)"),
        403: (SourceDenied, "may not be read with these credentials (HTTP 403)"),
        412: (SourceChanged, "was overwritten: the source doesn't have the pinned bytes any more"),
        416: (SourceChanged, f"is shorter than the pinned {size} bytes"),
    }
    kind, words = known.get(status, (SourceInvalid, f"answers HTTP {status} to a range request"))
    return kind(f"{what} {words}")


def retry_after(text: str) -> float | None:
    """Read a Retry-After header: seconds, or an HTTP date; None if it says neither."""
    digits = text.strip()  # of more than float() would strip
    if digits.isdecimal():
        return min(float(digits), _MAX_WAIT)
    try:
        seconds = (parsedate_to_datetime(text).astimezone(UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), _MAX_WAIT)
