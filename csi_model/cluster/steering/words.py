"""Words: of a few things that events say."""

from collections.abc import Iterable

_LISTED = 5


def names_text(names: Iterable[str]) -> str:
    """Name nodes, five at most: ``n1, n2 and 3 more``."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else ""
    return ", ".join(ordered[:_LISTED]) + more
