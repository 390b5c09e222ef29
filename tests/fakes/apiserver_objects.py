"""The objects of a fake API server: versions, a history to watch, optimistic concurrency, pages."""

import copy
import json
import re
import threading
import uuid
from dataclasses import dataclass

STATUS_SUBRESOURCE = {"modelvolumes", "modelnodes"}
CREATED = "2030-01-01T00:00:00Z"


class Refused(Exception):
    """An answer that isn't a success."""

    def __init__(self, status, reason, message, name=None):
        super().__init__(message)
        self.status, self.reason, self.details = status, reason, {"details": {"name": name} if name else {}}

    def document(self):
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": str(self), "reason": self.reason, "code": self.status, **self.details,
        }  # fmt: skip


@dataclass(frozen=True)
class Change:
    version: int
    type: str
    resource: str  # "/api/v1|persistentvolumes"
    namespace: str
    object: dict


class Objects:
    """All of them, by (resource, namespace, name). Every method is atomic; ``changed`` is notified of changes."""

    def __init__(self):
        self.changed = threading.Condition()
        self.version = 100
        self.oldest = 0  # watches and pages from before this version have expired
        self.history = []
        self._all = {}

    def get(self, resource, namespace, name):
        with self.changed:
            found = self._all.get((resource, namespace, name))
            if found is None:
                raise Refused(404, "NotFound", f'{resource.split("|")[1]} "{name}" not found', name)
            return copy.deepcopy(found)

    def create(self, resource, namespace, item):
        name = item["metadata"]["name"]
        with self.changed:
            if (resource, namespace, name) in self._all:
                raise Refused(409, "AlreadyExists", f'{resource.split("|")[1]} "{name}" already exists')
            item = copy.deepcopy(item)
            item["metadata"] |= {"uid": item["metadata"].get("uid") or str(uuid.uuid4()), "creationTimestamp": CREATED}
            if namespace:
                item["metadata"]["namespace"] = namespace
            if resource.split("|")[1] in STATUS_SUBRESOURCE:
                item.pop("status", None)
                item["metadata"]["generation"] = 1
            return self._keep("ADDED", resource, namespace, item)

    def patch(self, resource, namespace, name, change, *, subresource=""):
        with self.changed:
            there = self.get(resource, namespace, name)
            _check_preconditions(resource, there, change.get("metadata") or {})
            new = merged(there, change)
            if subresource:
                new = {**there, "status": new.get("status")}
            elif resource.split("|")[1] in STATUS_SUBRESOURCE and "status" in there:
                new["status"] = there["status"]
            if resource.split("|")[1] in STATUS_SUBRESOURCE and new.get("spec") != there.get("spec"):
                new["metadata"]["generation"] += 1
            return self._keep_if_other(resource, namespace, there, new)

    def delete(self, resource, namespace, name, *, uid=None):
        with self.changed:
            there = self.get(resource, namespace, name)
            if uid not in (None, there["metadata"]["uid"]):
                raise Refused(409, "Conflict", f"Precondition failed: UID in precondition: {uid}", name)
            del self._all[resource, namespace, name]
            return self._record("DELETED", resource, namespace, there)

    def page(self, resource, namespace, limit, token, wanted=lambda _: True):
        """Return items, the token of the next page, and the version that the whole list has."""
        with self.changed:
            version, after = json.loads(token) if token else (self.version, None)
            if version < self.oldest:
                raise Refused(410, "Expired", "The provided continue parameter is too old")
            keys = sorted(
                key for key, item in self._all.items()
                if key[0] == resource and namespace in ("", key[1]) and wanted(item)
            )  # fmt: skip
            keys = [key for key in keys if after is None or list(key) > after]
            here = keys[:limit] if limit else keys
            more = json.dumps([version, list(here[-1])]) if len(keys) > len(here) else ""
            return [copy.deepcopy(self._all[key]) for key in here], more, version

    def since(self, resource, namespace, version):
        """Return the changes after a version, oldest first."""
        if version < self.oldest:
            raise Refused(410, "Expired", f"too old resource version: {version} ({self.oldest})")
        return [
            c for c in self.history
            if c.version > version and c.resource == resource and namespace in ("", c.namespace)
        ]  # fmt: skip

    def compact(self):
        """Forget the history, as etcd does after minutes."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.history.clear()
            self.changed.notify_all()

    def _keep_if_other(self, resource, namespace, there, new):
        if new == there:
            return there
        return self._keep("MODIFIED", resource, namespace, new)

    def _keep(self, kind, resource, namespace, item):
        self._all[resource, namespace, item["metadata"]["name"]] = item
        return self._record(kind, resource, namespace, item)

    def _record(self, kind, resource, namespace, item):
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.history.append(Change(self.version, kind, resource, namespace, copy.deepcopy(item)))
        self.changed.notify_all()
        return copy.deepcopy(item)


def _check_preconditions(resource, there, metadata):
    """Refuse what was meant for another version or another object of the same name, as the real one does."""
    name = there["metadata"]["name"]
    if metadata.get("resourceVersion") not in (None, there["metadata"]["resourceVersion"]):
        raise Refused(409, "Conflict", f'Operation cannot be fulfilled on {resource.split("|")[1]} "{name}"', name)
    if metadata.get("uid") not in (None, there["metadata"]["uid"]):
        raise Refused(422, "Invalid", f'{resource.split("|")[1]} "{name}" is invalid: metadata.uid', name)


def selects(selector):
    """Make a predicate of a field selector such as ``metadata.name=a,status.phase!=Failed``."""
    parts = [re.fullmatch(r"([\w.]+?)(!?)==?(.*)", part).groups() for part in filter(None, selector.split(","))]

    def field(item, path):
        for key in path.split("."):
            item = (item or {}).get(key)
        return str(item or "")

    return lambda item: all((field(item, path) == value) != bool(no) for path, no, value in parts)


def merged(there, change):
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(change, dict):
        return change
    there = dict(there) if isinstance(there, dict) else {}
    for key, value in change.items():
        if value is None:
            there.pop(key, None)
        else:
            there[key] = merged(there.get(key), value)
    return there


def metadata_only(item):
    return {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item.get("metadata", {})
    }  # fmt: skip
