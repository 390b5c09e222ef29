"""From an HTTP status of the API to an error that tells whom to turn to."""

import json
import re
from typing import Any

from csi_model.cluster import errors
from csi_model.errors import StoreUnusable

_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/[^/]+(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[^/?]+)(?:/(?P<name>.+))?"
)
_KINDS: dict[int, type[StoreUnusable]] = {
    401: errors.ApiDenied,
    403: errors.ApiDenied,
    404: errors.ApiNotFound,
    409: errors.ApiConflict,
    410: errors.ApiExpired,
}
_BUSY, _BROKEN = 429, 500


def failure(method: str, path: str, status: int, body: bytes, *, watch: bool = False) -> StoreUnusable:
    """Make the error for an answer.

    Args:
        method: of the request.
        path: of the request, without query.
        status: of the answer.
        body: of the answer; a Status object if all is well.
        watch: whether the request was to watch.

    """
    match = _PATH.match(path)
    resource = match["resource"] if match else path
    right = "watch" if watch else _VERBS.get(method) or ("get" if match and match["name"] else "list")
    status_object = _object(body)
    said = " ".join(str(status_object.get("message") or body[:300].decode(errors="replace"))[:600].split())
    if status == 401:  # noqa: PLR2004 - HTTP's own numbers
        return errors.ApiDenied(f"the Kubernetes API doesn't accept the driver's token (401): {said}")
    if status == 403:  # noqa: PLR2004 - likewise
        group = (match and match["group"]) or "core"
        inside = f" in namespace {match['namespace']}" if match and match["namespace"] else ""
        return errors.ApiDenied(
            f"the driver may not {right} {resource} (API group {group}){inside}: its ClusterRole or Role has to give "
            f"it the verb {right!r}. The API says: {said}"
        )
    kind = kind_of(status)
    details = status_object.get("details")
    if kind is errors.ApiNotFound and isinstance(details, dict) and details.get("name"):
        kind = errors.ApiAbsent  # where the kind itself is unknown, nothing tells a name
    return kind(f"the Kubernetes API answered {status} to {right} {resource}: {said}")


def kind_of(status: int) -> type[StoreUnusable]:
    """Return the type for an HTTP status that isn't a success."""
    if status in _KINDS:
        return _KINDS[status]
    return errors.ApiUnavailable if status == _BUSY or status >= _BROKEN else errors.ApiRefused


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
