"""The kernel's mount table, read: ``/proc/<pid>/mountinfo`` as proc(5) describes it.

A line is ``id parent major:minor root target options [tag…] - type source super-options``; the number of tags (the
propagation) varies, and the ``-`` ends them. Space, tab, newline, backslash and ``#`` are written as three octal
digits after a backslash.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from csi_model.node.mounts import Mount

_ESCAPED = re.compile(rb"\\([0-3][0-7]{2})")
_DELETED = b"//deleted"  # what the kernel adds to the path of a directory that is no more; "//" is in no real path
_FIELDS, _SUPER_FIELDS = 6, 3


@dataclass(frozen=True, slots=True)
class _Line:
    identity: bytes
    parent: bytes
    mount: Mount


def parse_mountinfo(text: bytes) -> Mapping[Path, Mount]:
    """Read a mount table.

    Args:
        text: the whole file.

    Returns:
        The topmost mount of each target. Names that aren't UTF-8 are decoded as :func:`os.fsdecode` does.

    Raises:
        ValueError: a line isn't of the documented form.

    """
    targets: dict[Path, list[_Line]] = {}
    for number, line in enumerate(text.split(b"\n"), 1):
        if line:
            try:
                read = _line(line)
            except ValueError as error:
                raise ValueError(f"line {number} of mountinfo is malformed: {error}") from None
            targets.setdefault(read.mount.target, []).append(read)
    return {target: _topmost(lines) for target, lines in targets.items()}


def _line(line: bytes) -> _Line:
    own, separator, rest = line.partition(b" - ")
    fields, super_fields = own.split(b" "), rest.split(b" ")
    if not separator or len(fields) < _FIELDS or len(super_fields) < _SUPER_FIELDS:
        raise ValueError("fields are missing")
    identity, parent, device, root, target, options = fields[:_FIELDS]
    read_only = b"ro" in options.split(b",") or b"ro" in super_fields[-1].split(b",")
    return _Line(identity, parent, Mount(_path(target), _path(root), os.fsdecode(device), read_only))


def _path(field: bytes) -> Path:
    plain = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), field)
    return Path(os.fsdecode(plain.removesuffix(_DELETED)))


def _topmost(lines: list[_Line]) -> Mount:
    """Of mounts on one target, the one that no other of them lies upon (their order in the file isn't promised)."""
    covered = {line.parent for line in lines}
    return next((line for line in reversed(lines) if line.identity not in covered), lines[-1]).mount
