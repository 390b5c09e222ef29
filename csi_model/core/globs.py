"""Globs that choose files of a model: ``*`` and ``?`` within a name, ``**`` across directories, ``[…]`` sets.

A glob without a slash is matched against the file's name in any directory (``*.bin``), one with a slash against
the whole path (``original/**``), as in .gitignore files.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

_MAX_LENGTH = 256
_MAX_STARS = 8  # a hostile row of stars makes a regular expression crawl


def check_glob(glob: str) -> None:
    """Refuse a glob that can't be matched safely.

    Raises:
        ValueError: too long, too many stars, absolute, dot segments, or an open bracket.

    """
    if len(glob) > _MAX_LENGTH or glob.count("*") > _MAX_STARS:
        raise ValueError(f"the glob {glob[:80]!r} has more than {_MAX_LENGTH} characters or {_MAX_STARS} stars")
    if glob.startswith("/") or ".." in glob.split("/"):
        raise ValueError(f"the glob {glob!r} is matched against paths inside the model: no leading slash, no '..'")
    _pattern(glob)


def _pattern(glob: str) -> str:
    """Translate a glob into a regular expression for a whole path."""
    out = "" if "/" in glob else "(?:.*/)?"
    i = 0
    while i < len(glob):
        if glob.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
        elif glob.startswith("**", i):
            out, i = out + ".*", i + 2
        elif glob[i] == "*":
            out, i = out + "[^/]*", i + 1
        elif glob[i] == "?":
            out, i = out + "[^/]", i + 1
        elif glob[i] == "[":
            end = glob.find("]", i + 2)
            if end == -1:
                raise ValueError(f"the glob {glob!r} has a '[' without ']'")
            inner = glob[i + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out, i = out + "[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]", end + 1
        else:
            out, i = out + re.escape(glob[i]), i + 1
    try:
        re.compile(out)
    except re.error as error:
        raise ValueError(f"the glob {glob!r} is malformed: {error}") from error
    return out + r"\Z"


@dataclass(frozen=True)
class Selection:
    """Which files of a listing belong to the model.

    Attributes:
        include: one of them must match; empty means all.
        exclude: none of them may match.

    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    @cached_property
    def _patterns(self) -> tuple[list[re.Pattern[str]], list[re.Pattern[str]]]:
        compiled = [[re.compile(_pattern(glob), re.DOTALL) for glob in globs] for globs in (self.include, self.exclude)]
        return compiled[0], compiled[1]

    def admits(self, path: str) -> bool:
        """Tell whether a path belongs to the model."""
        include, exclude = self._patterns
        if include and not any(pattern.match(path) for pattern in include):
            return False
        return not any(pattern.match(path) for pattern in exclude)
