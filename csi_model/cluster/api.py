"""The Kubernetes API as raw JSON: the official client's configuration, TLS and tokens, and none of its models.

Decoding into the client's typed objects costs about a millisecond and 18 KiB each, and custom resources have no types
anyway. Everything here takes and returns plain JSON; every request has a time limit and every answer a size limit;
what goes wrong is a type of :mod:`csi_model.cluster.errors`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from csi_model.cluster import errors
from csi_model.cluster.answers import failure
from csi_model.cluster.lines import Lines
from csi_model.errors import CsiModelError

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

Json = dict[str, Any]
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""What to accept to be spared all of an object but its metadata."""
_JSON, _MERGE_PATCH = "application/json", "application/merge-patch+json"
_CONNECT, _READ = 5.0, 20.0  # seconds; the API answers in milliseconds, and the callers' calls have two minutes at most
_SILENCE = 150.0  # seconds without a line of a watch: bookmarks come about every minute
_MAX_ANSWER = 64 * 1024 * 1024  # bytes: a page of 250 objects, most of them small
_CONNECTIONS = 16


class Api:
    """A connection to the API server. Safe to use from many threads.

    Args:
        client: the official client's ``ApiClient``.
        read_timeout: seconds between two pieces of an answer.

    """

    def __init__(self, client: Any, *, read_timeout: float = _READ) -> None:
        self._client = client
        self._host = client.configuration.host.rstrip("/")
        self._read_timeout = read_timeout

    def get(self, path: str, *, accept: str = _JSON) -> Json | None:
        """Return an object; None if there is none.

        Raises:
            ApiUnavailable, ApiDenied, ApiNotFound, ApiRefused: it can't be had.

        """
        try:
            return self._json("GET", path, accept=accept)
        except errors.ApiAbsent:
            return None

    def list(self, path: str, *, query: Mapping[str, str], accept: str = _JSON) -> Json:
        """Return a page of objects: ``items``, and ``metadata`` with ``continue`` and ``resourceVersion``.

        Raises:
            ApiExpired: ``query["continue"]`` is too old.
            ApiUnavailable, ApiDenied, ApiNotFound, ApiRefused: it can't be had.

        """
        return self._json("GET", path, query=query, accept=accept)

    def create(self, path: str, body: Json) -> Json:
        """Create an object in the collection at ``path``.

        Raises:
            ApiConflict: one of this name exists.
            ApiUnavailable, ApiDenied, ApiNotFound, ApiRefused: it can't be made.

        """
        return self._json("POST", path, body=body)

    def merge_patch(self, path: str, body: Json, *, accept: str = _JSON) -> Json:
        """Change fields of an object.

        Args:
            path: of the object, or of its status.
            body: the fields; None takes one away. With ``metadata.resourceVersion``, only if that is its version.
            accept: the form of the answer.

        Raises:
            ApiConflict: it has another version.
            ApiUnavailable, ApiDenied, ApiNotFound, ApiRefused: it can't be done.

        """
        return self._json("PATCH", path, body=body, content=_MERGE_PATCH, accept=accept)

    def delete(self, path: str, *, uid: str = "") -> None:
        """Delete an object; one that isn't there is no error.

        Args:
            path: of the object.
            uid: which one of that name; "" for whichever there is.

        Raises:
            ApiConflict: it is another one.
            ApiUnavailable, ApiDenied, ApiNotFound, ApiRefused: it can't be done.

        """
        with suppress(errors.ApiAbsent):
            self._json("DELETE", path, body={"preconditions": {"uid": uid}} if uid else None)

    def watch(self, path: str, *, query: Mapping[str, str], accept: str = _JSON) -> Lines:
        """Begin to watch: one JSON object a line, until the server or :meth:`Lines.close` ends it.

        Raises:
            ApiExpired: ``query["resourceVersion"]`` is too old.
            ApiUnavailable, ApiDenied, ApiNotFound, ApiRefused: it can't be had.

        """
        return Lines(self._send("GET", path, query={**query, "watch": "true"}, accept=accept, silence=_SILENCE))

    def within(self, seconds: float) -> "Api":
        """Return the same API with another limit between two pieces of an answer."""
        return Api(self._client, read_timeout=seconds)

    def close(self) -> None:
        """Close the connections that nobody uses now."""
        self._client.rest_client.pool_manager.clear()

    def _json(self, method: str, path: str, **request: Any) -> Json:
        response = self._send(method, path, **request)
        with _released(response), _translated(self._host):
            data = _bounded(response)
        return _object(data, f"{method} {path}")

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content: str = _JSON,
        accept: str = _JSON,
        silence: float | None = None,
    ) -> "BaseHTTPResponse":
        from urllib3 import Timeout  # noqa: PLC0415 - comes with the client

        url = self._host + path + (f"?{urlencode(query)}" if query else "")
        timeout = Timeout(connect=_CONNECT, read=silence or self._read_timeout)
        with _translated(self._host):
            headers = {"Accept": accept, "Content-Type": content, "User-Agent": "csi-model"}
            self._client.update_params_for_auth(headers, [], ["BearerToken"])  # reads a renewed token when it is time
            response: BaseHTTPResponse = self._client.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            if 200 <= response.status < 300:  # noqa: PLR2004 - HTTP's own numbers
                return response
            with _released(response):
                answer = _bounded(response)
        raise failure(method, path, response.status, answer, watch=silence is not None)


def connect(kubeconfig: Path | None = None) -> Api:
    """Connect as a pod of the cluster does, or else as kubectl would.

    Args:
        kubeconfig: take this file and nothing else.

    Raises:
        ApiUnavailable: neither a service account nor a kubeconfig file is there, or it can't be used.

    """
    from kubernetes import client, config  # noqa: PLC0415 - half a second and 45 MiB, for clusters only

    configuration = client.Configuration()
    try:
        if kubeconfig is not None:
            config.load_kube_config(str(kubeconfig), client_configuration=configuration, persist_config=False)
        else:
            try:
                config.load_incluster_config(configuration)
            except config.ConfigException:
                config.load_kube_config(client_configuration=configuration, persist_config=False)
    except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        where = kubeconfig or "a pod's service account, nor in kubectl's configuration"
        raise errors.ApiUnavailable(f"no way to the Kubernetes API is found in {where}: {str(error)[:300]}") from error
    configuration.connection_pool_maxsize = _CONNECTIONS
    return Api(client.ApiClient(configuration))


@contextmanager
def _translated(host: str) -> Iterator[None]:
    """Turn what the client, its TLS and its sockets raise into our types."""
    try:
        yield
    except CsiModelError:
        raise
    except Exception as error:
        if not _is_foreign(error):
            raise
        raise errors.ApiUnavailable(f"the Kubernetes API at {host} doesn't answer: {str(error)[:300]}") from error


def _is_foreign(error: Exception) -> bool:
    from kubernetes.config import ConfigException  # noqa: PLC0415 - as in connect
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - likewise

    return isinstance(error, HTTPError | OSError | ConfigException)


@contextmanager
def _released(response: "BaseHTTPResponse") -> Iterator[None]:
    """Give the connection back if the answer was read to its end, else close it."""
    try:
        yield
    except BaseException:
        response.close()
        raise
    response.release_conn()


def _bounded(response: "BaseHTTPResponse") -> bytes:
    data = response.read(_MAX_ANSWER + 1)
    if len(data) > _MAX_ANSWER:
        raise errors.ApiRefused(f"the Kubernetes API's answer has more than {_MAX_ANSWER} bytes")
    return data


def _object(data: bytes, what: str) -> Json:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise errors.ApiUnavailable(f"the Kubernetes API's answer to {what} is no JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise errors.ApiUnavailable(f"the Kubernetes API's answer to {what} is no JSON object")
    return document
