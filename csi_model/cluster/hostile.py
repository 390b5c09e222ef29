"""Hostile: JSON that may be anything, read without believing it."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from sys import intern
from typing import Any, TypeVar

from csi_model.core.records import exactly
from csi_model.core.treehash import is_digest

T = TypeVar("T")
Json = dict[str, Any]
_MOST = 2**63 - 1
_LONGEST_TIME = 40  # characters; RFC 3339 with nanoseconds and an offset has 35
_WRONG = (KeyError, TypeError, ValueError, OverflowError, OSError)  # the last two: times that no clock has


def each(items: Any, read: Callable[[Json], T], most: int) -> Iterator[T]:
    """Read the entries of a list, ``most`` at most; what is none is left out."""
    for item in items[:most] if isinstance(items, list) else ():
        with suppress(*_WRONG):
            yield read(exactly(dict, item))


def either(default: T, read: Callable[[], T]) -> T:
    """Return what is read, or a default if it isn't there or not what it has to be."""
    with suppress(*_WRONG):
        return read()
    return default


def mapping(item: Any, name: str) -> Json:
    """Return an object's field that is an object, or an empty one."""
    value = item.get(name) if isinstance(item, dict) else None
    return value if isinstance(value, dict) else {}


def text_or_empty(value: Any) -> str:
    """Return a text, or an empty one."""
    return value if isinstance(value, str) else ""


def digest(value: Any) -> str:
    """Take a Manifest digest, of which many objects have the same; raises TypeError or ValueError."""
    if not is_digest(exactly(str, value)):
        raise ValueError("no manifest digest")
    return intern(value)


def count(value: Any) -> int:
    """Take a number of things or bytes; raises TypeError or ValueError."""
    if not 0 <= exactly(int, value) <= _MOST:
        raise ValueError("out of range")
    return int(value)


def seconds(value: Any) -> float:
    """Take a time (RFC 3339) as seconds since the epoch; raises TypeError, ValueError or OverflowError."""
    text = exactly(str, value)
    if len(text) > _LONGEST_TIME:
        raise ValueError("too long for a time")
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError("a time without a zone")
    return when.timestamp()
