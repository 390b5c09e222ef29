"""Watch: be told of every object of one resource, and of every change, as long as the process lives.

A list comes first, then a watch from its version on. Objects are trimmed as they arrive, so that what is kept is what
matters, and a Watch itself keeps none of them. When a watch ends, it goes on from the last version heard of; when
that is too old, or after an error, everything is listed anew: who listens has to be content with "this is all there
is", which also covers changes that nobody saw.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from csi_model.cluster.answers import kind_of
from csi_model.cluster.api import Api
from csi_model.cluster.errors import ApiExpired, ApiUnavailable
from csi_model.errors import StoreUnusable

if TYPE_CHECKING:
    from csi_model.cluster.lines import Lines

log = logging.getLogger(__name__)
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace ("" for cluster-scoped objects) and name."""
_JSON = "application/json"
_PAGE = 250  # objects in one answer
_LASTS = 290  # seconds that the server is asked to keep a watch open; it sends bookmarks every minute
_SHORT = 1.0  # seconds: a watch that ends sooner is followed by a pause
_PATIENCE = 3  # failures in a row after which the last version isn't trusted any more
_PAUSE, _MAX_PAUSE = 0.5, 30.0  # seconds; doubles, with full jitter


class Listener(Protocol[T_contra]):
    """Whom a Watch tells, always from its one thread. What a method raises ends the thread: it is a bug."""

    def replaced(self, objects: Mapping[Key, T_contra]) -> None:
        """Be told all there is; whatever else was known is gone."""

    def changed(self, key: Key, value: T_contra | None) -> None:
        """Be told that one is new or another (``value``), or gone (None)."""


class Watch(Generic[T]):
    """Lists and watches one resource in a thread of its own.

    Args:
        api: the API.
        path: of the collection, e.g. ``/api/v1/persistentvolumes``.
        trim: makes what is kept of an object; None if it is of no interest. It gets what the API sends, and must not
            raise, whatever that is.
        listener: is told.
        accept: the form to ask for, e.g. :data:`csi_model.cluster.api.METADATA` for metadata alone.
        accept_list: likewise for the list.
        query: of both, e.g. ``{"fieldSelector": "metadata.name=a"}``.
        page: objects in one answer to the list; fewer where they are large.
        pause: seconds before the first new try after an error.

    Attributes:
        synced: set once everything has been told for the first time.

    """

    def __init__(
        self,
        api: Api,
        path: str,
        trim: Callable[[Json], T | None],
        listener: Listener[T],
        *,
        accept: str = _JSON,
        accept_list: str = _JSON,
        query: Mapping[str, str] | None = None,
        page: int = _PAGE,
        pause: float = _PAUSE,
    ) -> None:
        self._api, self._path, self._trim, self._listener = api, path, trim, listener
        self._query, self._page = dict(query or {}), page
        self._accept, self._accept_list, self._pause = accept, accept_list, pause
        self.synced = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._lines: Lines | None = None
        self._version = ""  # the last that was told; "" if everything has to be listed
        self._thread = threading.Thread(target=self._run, name=f"watch {path.rpartition('/')[2]}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """End: nobody is told anything any more, except what is being told right now.

        Args:
            timeout: seconds to wait for the thread. One that is just connecting takes longer, and harms nobody.

        """
        self._stopped.set()
        with self._lock:
            if self._lines is not None:
                self._lines.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            began = monotonic()
            try:
                if not self._version:
                    self._version = self._list()
                self._follow()
                failures = 0 if monotonic() - began > _SHORT else failures + 1
            except ApiExpired:
                self._version = ""
                failures += 1
            except StoreUnusable as error:
                if not self._stopped.is_set():
                    log.warning("watching %s: %s", self._path, error)
                failures += 1
                if failures >= _PATIENCE:
                    self._version = ""
            if failures:
                most = min(_MAX_PAUSE, self._pause * 2.0 ** min(failures - 1, 16))
                self._stopped.wait(random.uniform(0, most))  # noqa: S311 - to spread load, not to keep a secret

    def _list(self) -> str:
        """Tell all there is; return the version of the list."""
        found: dict[Key, T] = {}
        query = {**self._query, "limit": str(self._page)}
        while not self._stopped.is_set():
            page = self._api.list(self._path, query=query, accept=self._accept_list)
            metadata, items = page.get("metadata"), page.get("items")
            if not isinstance(metadata, dict) or not isinstance(items or [], list):
                raise ApiUnavailable(f"the list of {self._path} is damaged")
            for item in items or []:
                key, value = _key(item), self._trim(item) if isinstance(item, dict) else None
                if key is not None and value is not None:
                    found[key] = value
            if not (more := metadata.get("continue")):
                break
            query["continue"] = str(more)
        else:
            return ""
        self._listener.replaced(found)
        self.synced.set()
        return str(metadata.get("resourceVersion") or "0")

    def _follow(self) -> None:
        """Tell changes until the watch ends."""
        query = {"resourceVersion": self._version, "allowWatchBookmarks": "true", "timeoutSeconds": str(_LASTS)}
        lines = self._api.watch(self._path, query=self._query | query, accept=self._accept)
        with self._lock:
            self._lines = lines
            if self._stopped.is_set():
                lines.close()
        for event in lines:
            if self._stopped.is_set():
                break
            kind, item = event.get("type"), event.get("object")
            if not isinstance(item, dict):
                continue
            if kind == "ERROR":
                code = item.get("code")
                raise kind_of(code if isinstance(code, int) else 500)(f"it ended with {str(item.get('message'))[:300]}")
            self._tell(kind, item)
            self._version = _version(item) or self._version

    def _tell(self, kind: object, item: Json) -> None:
        key = _key(item)
        if key is None or kind not in ("ADDED", "MODIFIED", "DELETED"):
            return
        self._listener.changed(key, None if kind == "DELETED" else self._trim(item))


def _key(item: Any) -> Key | None:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    if not isinstance(metadata, dict):
        return None
    namespace, name = metadata.get("namespace") or "", metadata.get("name")
    return (namespace, name) if name and isinstance(name, str) and isinstance(namespace, str) else None


def _version(item: Json) -> str:
    metadata = item.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return version if isinstance(version, str) else ""
