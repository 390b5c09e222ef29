"""Notes: what was fetched once and so isn't fetched again, as (Origin, key, pin, size) → Digest.

A note is a symbolic link that leads nowhere; its text is the Digest. It appears whole in one system call and is read in
one, and it is short enough to live in its inode, so that 100,000 of them take no block and no seek each. Losing a note
costs a second fetch and nothing else.
"""

import binascii
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import token_hex

from csi_model.core.manifest import Entry
from csi_model.store.durable import UNFINISHED, fsync_directory
from csi_model.store.identity import memo_names
from csi_model.store.layout import Layout

_RAW = 32
"""Bytes of a Digest: 43 letters in base64. ext4 keeps up to 59 in a link's inode; 64 of hex would need a block."""


class Notes:
    """The notes of one store. Methods raise OSError; the store translates."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def digests(self, origin: str, entry: Entry) -> Iterator[str]:
        """Yield what an entry's bytes are known to be; whether such a blob is here is another question."""
        for name in memo_names(origin, entry):
            digest = self._read(self._layout.known(name))
            if digest is not None:
                yield digest

    def _read(self, path: str) -> str | None:
        try:
            return _digest(os.readlink(path))  # noqa: PTH115 - a string: see Layout.blob_text
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:  # no link: of an earlier program, or damaged
                return None
            raise

    def write(self, origin: str, entries: Iterable[tuple[Entry, str]], *, durable: bool) -> None:
        """Note which Digest entries turned out to have.

        Args:
            origin: of the entries.
            entries: each with its Digest.
            durable: whether the notes are durable when this returns, or with the next commit of the file system.

        """
        for entry, digest in entries:
            for name in memo_names(origin, entry):
                path = self._layout.known(name)
                self._link(_text(digest), path)
                if durable:
                    fsync_directory(Path(path).parent)
                    fsync_directory(self._layout.knowns)

    def _link(self, text: str, path: str) -> None:
        try:
            os.symlink(text, path)  # noqa: PTH211 - as above
        except FileNotFoundError:
            Path(path).parent.mkdir(mode=0o700, exist_ok=True)
            self._link(text, path)
        except FileExistsError:
            temporary = self._layout.assembly / f"{UNFINISHED}{token_hex(8)}"
            temporary.symlink_to(text)
            temporary.rename(path)

    def all(self) -> Iterator[tuple[Path, str]]:
        """Yield every note with its Digest; "" for one that can't be read."""
        for shard in self._layout.knowns.iterdir():
            for path in shard.iterdir():
                yield path, self._read(str(path)) or ""


def _text(digest: str) -> str:
    return binascii.b2a_base64(bytes.fromhex(digest), newline=False).decode().rstrip("=")


def _digest(text: str) -> str | None:
    try:
        raw = binascii.a2b_base64(text + "=", strict_mode=True)
    except ValueError:
        return None
    return raw.hex() if len(raw) == _RAW else None
