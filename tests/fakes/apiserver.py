"""A Kubernetes API server in memory behind a real socket: raw objects of any resource, lists, watches, errors.

It is as strict as the real one where the driver could be careless: versions, conflicts, expired watches, status as a
subresource, merge patches that change nothing, and texts that aren't Unicode. It has no schemas and no admission.
"""

import json
import re
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.apiserver_objects import Objects, Refused, metadata_only, selects

_PATH = re.compile(
    r"(?P<group>/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/(?P<ns>[^/]+))?/(?P<resource>[a-z]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<sub>status))?)?$"
)
_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


class ApiServer:
    """A context manager.

    Attributes:
        objects: what it has; change it behind the driver's back.
        requests: (verb, path) of each that came.
        tokens: the Authorization header of each.
        denied: (verb, resource) that are answered 403.
        unknown: resources that are answered 404, as without their CustomResourceDefinition.
        failures: statuses of the next answers; -1 closes the connection, -2 says nothing until the end.
        expected_token: of requests; None lets everybody in.

    """

    def __init__(self, *, tls=None):
        self.objects = Objects()
        self.requests, self.tokens = [], []
        self.denied, self.unknown, self.failures = set(), set(), []
        self.expected_token = None
        self.over = threading.Event()
        self.watches_began = threading.Condition()
        self.watching = []  # resources that have an open watch
        self.raw_lines = []  # sent on the next watch as they are, then it goes on
        self._epoch = 0
        self._server = _Server(("127.0.0.1", 0), _Handler, self, tls)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self._server.shutdown()
        self.drop()
        self._server.server_close()
        self._thread.join()

    def drop(self):
        """Break every connection."""
        self.end_watches()
        self._server.drop()

    def end_watches(self):
        """End every watch as the real one does after minutes."""
        with self.objects.changed:
            self._epoch += 1
            self.objects.changed.notify_all()

    def create(self, path, item):
        """Create an object as somebody else would."""
        match = _PATH.match(path)
        return self.objects.create(f"{match['group']}|{match['resource']}", match["ns"] or "", item)

    def delete(self, path):
        match = _PATH.match(path)
        return self.objects.delete(f"{match['group']}|{match['resource']}", match["ns"] or "", match["name"])

    def patch(self, path, change):
        match = _PATH.match(path)
        return self.objects.patch(f"{match['group']}|{match['resource']}", match["ns"] or "", match["name"], change)

    def all(self, path):
        """Return the objects of a collection."""
        match = _PATH.match(path)
        return self.objects.page(f"{match['group']}|{match['resource']}", match["ns"] or "", 0, "")[0]

    def kubeconfig(self, directory, *, token="secret-token", authority=None):
        """Write a kubeconfig file for this server."""
        cluster = {"server": self.url, **({"certificate-authority": str(authority)} if authority else {})}
        context = {"cluster": "c", "user": "u"}
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": context}],
        }  # fmt: skip
        path = directory / "kubeconfig"
        path.write_text(json.dumps(document))
        return path

    def wait_for_watch(self, resource, count=1):
        """Wait until so many watches of a resource are open."""
        with self.watches_began:
            assert self.watches_began.wait_for(lambda: self.watching.count(resource) >= count, timeout=10)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, address, handler, api, tls):
        super().__init__(address, handler)
        self.api, self.tls = api, tls
        self._open = set()
        self._lock = threading.Lock()

    def finish_request(self, request, client_address):
        with suppress(OSError):
            connection = self.tls.wrap_socket(request, server_side=True) if self.tls else request
            with self._lock:
                self._open.add(connection)
            try:
                super().finish_request(connection, client_address)
            finally:
                with self._lock:
                    self._open.discard(connection)
                connection.close()

    def drop(self):
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def _serve(self):
        api = self.server.api
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._query = {key: values[0] for key, values in parse_qs(url.query).items()}
        match = _PATH.match(unquote(url.path))
        verb = self._verb(match)
        api.requests.append((verb, url.path))
        api.tokens.append(self.headers.get("Authorization"))
        try:
            if api.failures:
                self._fail(api.failures.pop(0))
            self._admit(api, verb, match)
            self._do(api, match, json.loads(body) if body else None)
        except Refused as refused:
            self._answer(refused.status, refused.document())

    def _admit(self, api, verb, match):
        if api.expected_token and self.headers.get("Authorization", "").split(" ")[-1] != api.expected_token:
            raise Refused(401, "Unauthorized", "Unauthorized")
        if match is None or match["resource"] in api.unknown:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if verb == "patch" and self.headers.get("Content-Type") != "application/merge-patch+json":
            raise Refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        if (verb, match["resource"]) in api.denied:
            raise Refused(403, "Forbidden", f'User "sa" cannot {verb} resource "{match["resource"]}"')

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _verb(self, match):
        if self.command != "GET":
            return _VERBS[self.command]
        if self._query.get("watch") == "true":
            return "watch"
        return "get" if match and match["name"] else "list"

    def _fail(self, status):
        if status > 0:
            raise Refused(status, "Failure", "as the test wants it")
        if status == -2:
            self.server.api.over.wait(30)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError

    def _do(self, api, match, body):
        objects, resource = api.objects, f"{match['group']}|{match['resource']}"
        at = (resource, match["ns"] or "")
        body = _as_go_reads_it(body)
        if self.command == "GET" and not match["name"]:
            return self._watch(api, match["resource"], *at) if self._verb(match) == "watch" else self._list(objects, at)
        if self.command == "POST":
            return self._answer(201, self._shown(objects.create(*at, body)))
        action = {
            "GET": lambda: objects.get(*at, match["name"]),
            "PATCH": lambda: objects.patch(*at, match["name"], body, subresource=match["sub"] or ""),
            "DELETE": lambda: objects.delete(
                *at, match["name"], uid=((body or {}).get("preconditions") or {}).get("uid")
            ),
        }[self.command]
        return self._answer(200, self._shown(action()))

    def _list(self, objects, at):
        wanted = selects(self._query.get("fieldSelector", ""))
        items, more, version = objects.page(*at, int(self._query.get("limit", 0)), self._query.get("continue"), wanted)
        metadata = {"resourceVersion": str(version), **({"continue": more} if more else {})}
        shown = [self._shown(item) for item in items]
        if not shown and "PartialObjectMetadata" in self.headers.get("Accept", ""):
            shown = None  # as the real one does
        self._answer(200, {"kind": "List", "metadata": metadata, "items": shown})

    def _watch(self, api, name, resource, namespace):
        objects, version = api.objects, int(self._query["resourceVersion"])
        with objects.changed:
            epoch = api._epoch
            objects.since(resource, namespace, version)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with api.watches_began:
            api.watching.append(name)
            api.watches_began.notify_all()
        try:
            while api.raw_lines:
                self._chunk(api.raw_lines.pop(0))
            self._follow(api, epoch, resource, namespace, version)
        finally:
            with api.watches_began:
                api.watching.remove(name)

    def _follow(self, api, epoch, resource, namespace, version):
        wanted = selects(self._query.get("fieldSelector", ""))
        self.wfile.flush()
        while True:
            with api.objects.changed:
                while api.objects.version <= version and api._epoch == epoch and not api.over.is_set():
                    api.objects.changed.wait(30)
                if api._epoch != epoch or api.over.is_set():
                    break
                try:
                    changes, version = api.objects.since(resource, namespace, version), api.objects.version
                except Refused as refused:
                    self._event("ERROR", refused.document())
                    break
            for change in changes:
                # One that isn't selected any more is gone, for this watch.
                self._event(change.type if wanted(change.object) else "DELETED", self._shown(change.object))
            if self._query.get("allowWatchBookmarks") == "true":
                self._event("BOOKMARK", {"kind": "Bookmark", "metadata": {"resourceVersion": str(version)}})
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, kind, item):
        self._chunk(json.dumps({"type": kind, "object": item}).encode() + b"\n")

    def _chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _shown(self, item):
        return metadata_only(item) if "PartialObjectMetadata" in self.headers.get("Accept", "") else item

    def _answer(self, status, document):
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _as_go_reads_it(body):
    """Replace lone surrogates, as Go's decoder does."""
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return json.loads(text)
