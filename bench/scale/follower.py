"""Follows a collection of the API: lists it, then watches it, again and again."""

import threading
from collections.abc import Callable
from http.client import HTTPException
from typing import Self

from bench.scale.client import JSON, METADATA, METADATA_LIST, Client, Json, Refused, Watch

_PAUSE = 0.2  # seconds before it is listed again


class Follower:
    """A thread that tells of every object of a collection, and of each change of one.

    Args:
        client: the API.
        path: of the collection.
        each: is told ADDED, MODIFIED or DELETED, and the object.
        metadata: whether the objects' metadata is enough.

    """

    def __init__(self, client: Client, path: str, each: Callable[[str, Json], None], *, metadata: bool = False) -> None:
        self._client, self._path, self._each = client, path, each
        self._list_as, self._watch_as = (METADATA_LIST, METADATA) if metadata else (JSON, JSON)
        self._closed = threading.Event()
        self._listed = threading.Event()
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self._run, name=f"follows {path.rpartition('/')[2]}")

    def __enter__(self) -> Self:
        self._thread.start()
        self._listed.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with self._lock:
            if self._watch is not None:
                self._watch.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow()
            except (Refused, OSError, HTTPException):
                self._closed.wait(_PAUSE)
        self._listed.set()
        self._client.close()

    def _follow(self) -> None:
        version = ""
        for page in self._client.pages(self._path, self._list_as):
            version = page["metadata"]["resourceVersion"]
            for item in page["items"]:
                self._each("ADDED", item)
        self._listed.set()
        watch = self._client.watch(self._path, version, self._watch_as)
        with self._lock:
            self._watch = watch
        if self._closed.is_set():
            watch.close()
        for kind, item in watch:
            if kind in ("ADDED", "MODIFIED", "DELETED"):
                self._each(kind, item)
            elif kind == "ERROR":
                return
