"""Makes the k-th change to the disk fail, or the process die right there."""

import errno
import os
import pathlib
import shutil
from contextlib import contextmanager

import pytest

from csi_model.store import durable

CHANGES = (
    "chmod", "fchmod", "fdatasync", "fsync", "ftruncate", "link", "mkdir", "pwrite", "rename", "rmdir", "symlink",
    "unlink", "utime", "write",
)  # fmt: skip
_CREATES = os.O_CREAT | os.O_TRUNC


class Crash(BaseException):
    """The process is dead: nothing that it would have done after this is done."""


class Faults:
    """Counts changes to the disk.

    Attributes:
        steps: the changes that were made, in order: (name, file name).
        struck: whether the fault has happened.

    """

    def __init__(self, at=None, *, code=None):
        self.steps = []
        self.struck = False
        self._at = at
        self._code = code

    def step(self, name, change, *args, **kwargs):
        if self.struck and self._code is None:
            raise Crash
        if len(self.steps) == self._at and not self.struck:
            self.struck = True
            if self._code is not None:
                raise OSError(self._code, os.strerror(self._code))
            if name in ("write", "pwrite"):  # died in the middle
                change(args[0], bytes(args[1])[: len(args[1]) // 2], *args[2:])
            raise Crash
        self.steps.append((name, _file_name(args)))
        return change(*args, **kwargs)

    @contextmanager
    def watching(self):
        with pytest.MonkeyPatch.context() as patch:
            for name in CHANGES:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            patch.setattr(os, "open", self._opening(os.open))
            patch.setattr(shutil, "copyfile", self._wrapped("copyfile", shutil.copyfile))
            patch.setattr(pathlib.Path, "write_text", self._wrapped("write_text", pathlib.Path.write_text))
            patch.setattr(durable, "_libc", self._libc(durable._libc))
            yield self

    def _wrapped(self, name, change):
        return lambda *args, **kwargs: self.step(name, change, *args, **kwargs)

    def _opening(self, change):
        def opening(path, flags, *args, **kwargs):
            if flags & _CREATES:
                return self.step("create", change, path, flags, *args, **kwargs)
            return change(path, flags, *args, **kwargs)

        return opening

    def _libc(self, real):
        class Libc:
            sync_file_range = staticmethod(real.sync_file_range)
            syncfs = staticmethod(self._wrapped("syncfs", real.syncfs))
            fallocate = staticmethod(self._wrapped("fallocate", real.fallocate))

        return Libc


def _file_name(args):
    """The last part of the path that a change is about; where a rename or link goes."""
    target = args[1] if len(args) > 1 and isinstance(args[1], (str, os.PathLike)) else args[0]
    if isinstance(target, int):
        target = pathlib.Path(f"/proc/self/fd/{target}").readlink()
    return pathlib.Path(target).name


def steps_of(action):
    """Name the changes that an action makes to the disk, in order: (name, file name)."""
    faults = Faults()
    with faults.watching():
        action()
    return faults.steps


def crashing(action, at):
    """Let the process die at a step of an action; returns whether it got that far."""
    faults = Faults(at)
    try:
        with faults.watching():
            action()
    except Crash:
        pass
    return faults.struck


def failing(action, at, code=errno.EIO):
    """Let a step of an action fail once; returns whether it got that far, and the error that came out."""
    faults = Faults(at, code=code)
    try:
        with faults.watching():
            action()
    except Exception as error:
        return faults.struck, error
    return faults.struck, None
