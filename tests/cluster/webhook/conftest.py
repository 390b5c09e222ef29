import datetime as dt
import http.client
import socket
import ssl

import pytest

from csi_model.cluster.webhook import certificates, renewing
from csi_model.cluster.webhook.serving import WebhookServer

NAMES = certificates.names_in("csi-model")
PATIENCE = 30


class Client:
    """The API server's side: trusts a bundle, calls by a name, keeps its connection."""

    def __init__(self, port, bundle, name=NAMES[0]):
        trust = ssl.create_default_context(cadata=bundle.decode())
        raw = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.tls = trust.wrap_socket(raw, server_hostname=name)
        except OSError:
            raw.close()
            raise
        self._http = http.client.HTTPSConnection(name)
        self._http.sock = self.tls
        self._http.auto_open = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._http.close()

    def post(self, body, path="/mutate", method="POST", headers=()):
        self._http.request(method, path, body, dict(headers))
        answer = self._http.getresponse()
        return answer.status, answer.read()

    def raw(self, data):
        """Send bytes and return all that comes until the server hangs up."""
        self.tls.sendall(data)
        return b"".join(iter(lambda: self.tls.recv(4096), b""))

    def is_over(self):
        """Wait for something to be said, and tell whether it was nothing."""
        return self.tls.recv(1) == b""


@pytest.fixture(scope="session")
def kept():
    return certificates.renewed(certificates.Kept(), NAMES, dt.datetime.now(dt.UTC))


@pytest.fixture
def serving(kept):
    """Start servers that answer with what `review` makes of a body."""
    made = []
    context = renewing.context_of(kept)

    def serve(review=bytes.upper, certificate=lambda: context, **how):
        listener = socket.create_server(("127.0.0.1", 0))
        made.append(WebhookServer(listener, review, certificate, **how))
        made[-1].start()
        return made[-1]

    yield serve
    for server in made:
        server.close()


@pytest.fixture
def call(kept):
    """Connect to a server."""
    return lambda server, **how: Client(server.port, kept.bundle, **how)
