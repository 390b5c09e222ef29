"""Globs that choose files of a model, as in .gitignore files.

``*``, ``?`` and ``[…]`` match within one name, ``**`` as a whole name matches any number of directories. A glob
without a slash is matched against the file's name in any directory (``*.bin``), one with a slash against the whole
path (``original/**``).

Paths come from untrusted sources, so matching never takes time that grows with a power of their length: names are
matched by the standard library's translation, which doesn't backtrack over stars, and directories one by one.
"""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

_MAX_LENGTH = 256
_ANY_DEPTH = "**"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://.")

Step = re.Pattern[str] | None
"""What one name has to match; None matches any number of names."""


def check_glob(glob: str) -> None:
    """Refuse a glob that means nothing.

    Raises:
        ValueError: empty, too long, absolute, dot segments, or an open bracket.

    """
    if len(glob) > _MAX_LENGTH:
        raise ValueError(f"the glob {glob[:80]!r} has more than {_MAX_LENGTH} characters")
    if not glob or glob.startswith("/") or {".", ".."} & set(glob.split("/")):
        raise ValueError(
            f"the glob {glob!r} is matched against paths inside the model: no leading slash, no '.' or '..'"
        )
    for name in glob.split("/"):
        if not _brackets_closed(name):
            raise ValueError(f"the glob {glob!r} has a '[' without ']'")
        try:
            _step(name)
        except re.error as error:
            raise ValueError(f"the glob {glob!r} is malformed: {error}") from error


def check_reference_glob(glob: str) -> None:
    """Refuse a glob that is no pattern of whole references, such as ``s3://models/**``.

    Raises:
        ValueError: it has no scheme, or as :func:`check_glob`.

    """
    if not _SCHEME.match(glob):  # without a slash it would match the last name of any bucket's path
        raise ValueError(f"has the source {glob[:80]!r}: want e.g. s3://models/**")
    check_glob(glob)


def _brackets_closed(name: str) -> bool:
    start = name.find("[")
    while start != -1:
        first = start + (2 if name.startswith("!", start + 1) else 1)
        end = name.find("]", first + 1)  # a bracket that comes first belongs to the set
        if end == -1:
            return False
        start = name.find("[", end)
    return True


def _step(name: str) -> Step:
    return None if name == _ANY_DEPTH else re.compile(fnmatch.translate(name))


def _steps(glob: str) -> list[Step]:
    names = glob.split("/")
    if names[-1] in (_ANY_DEPTH, ""):  # what lies inside a directory, not the directory itself
        names[-1:] = [_ANY_DEPTH, "*"]
    elif len(names) == 1:
        names.insert(0, _ANY_DEPTH)
    return [_step(name) for name in names]


def _matches(steps: Sequence[Step], names: Sequence[str]) -> bool:
    """Match step by step; on a mismatch only the last ``**`` is widened, since wider earlier ones gain nothing."""
    step = name = 0
    widened: tuple[int, int] | None = None
    while name < len(names):
        wanted = steps[step] if step < len(steps) else re.compile(r"(?!)")
        if wanted is None:
            widened, step = (step + 1, name), step + 1
        elif wanted.match(names[name]):
            step, name = step + 1, name + 1
        elif widened is not None:
            step, name = widened[0], widened[1] + 1
            widened = (step, name)
        else:
            return False
    return all(rest is None for rest in steps[step:])


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
    def _compiled(self) -> tuple[list[list[Step]], list[list[Step]]]:
        return [_steps(glob) for glob in self.include], [_steps(glob) for glob in self.exclude]

    def admits(self, path: str) -> bool:
        """Tell whether a path belongs to the model."""
        include, exclude = self._compiled
        names = path.split("/")
        if include and not any(_matches(steps, names) for steps in include):
            return False
        return not any(_matches(steps, names) for steps in exclude)
