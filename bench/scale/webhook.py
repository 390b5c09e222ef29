"""Admission reviews at a steady rate: straight to the webhook, and through the API server."""

import base64
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPSConnection

from bench.scale import objects
from bench.scale.client import Client, Json
from bench.scale.figures import Spread
from bench.scale.world import Model, World

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
_AT_ONCE = 8
_TIMEOUT = 10.0  # seconds
_BUCKET = re.compile(
    r'apiserver_admission_webhook_admission_duration_seconds_bucket\{[^}]*operation="CREATE"[^}]*le="([^"]+)"\} (\S+)'
)


@dataclass(frozen=True, slots=True)
class Hook:
    """Where the webhook is, as its configuration says.

    Attributes:
        port: of 127.0.0.1.
        path: of its URL.
        name: that its certificate is for.
        authority: that it trusts, PEM.

    """

    port: int
    path: str
    name: str
    authority: str


def registered(admin: Client) -> Hook | None:
    """Return the webhook that is registered; None as long as the controller hasn't put its authority in."""
    for configuration in admin.get(CONFIGURATIONS)["items"]:
        for webhook in configuration["webhooks"]:
            to = webhook["clientConfig"]
            if "csi-model" in configuration["metadata"]["name"] and to.get("caBundle"):
                service = to["service"]
                name = f"{service['name']}.{service['namespace']}.svc"
                return Hook(service["port"], service.get("path", "/"), name, base64.b64decode(to["caBundle"]).decode())
    return None


@dataclass(frozen=True, slots=True)
class Reviews:
    """What reviews took, and how many pods of how many that should be steered were.

    ``waking`` is how much later than it should a thread of ours woke up that slept until the next review: what a busy
    machine does to anybody.
    """

    spread: Spread
    waking: Spread
    steered: int
    expected: int


def direct(hook: Hook, world: World, *, count: int, rate: float) -> Reviews:
    """Send reviews to the webhook itself, as the API server does: over connections that are kept."""
    context = ssl.create_default_context(cadata=hook.authority)
    local = threading.local()

    def review(i: int, model: Model) -> bool:
        connection = getattr(local, "connection", None)
        if connection is None:
            connection = local.connection = _Connection(hook, context)
        body = json.dumps(_review(i, model)).encode()
        connection.request("POST", hook.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        response = json.loads(answer.read())["response"]
        return bool(response["allowed"]) and bool(response.get("patch"))

    return _paced(world, review, count=count, rate=rate)


def through_server(admin: Client, world: World, *, count: int, rate: float) -> tuple[Reviews, float | None]:
    """Create pods that aren't kept; return also what the API server says of the webhook: the 99th percentile's bucket.

    The bucket is its upper bound in seconds; None if the API server called no webhook.
    """
    before = buckets(admin.text("/metrics"))

    def create(i: int, model: Model) -> bool:
        path = f"/api/v1/namespaces/{model.namespace}/pods"
        made = admin.create(path, objects.pod(model.namespace, f"review-{i:05}", "", (model.claim,)), dryRun="All")
        return "nodeAffinity" in made["spec"].get("affinity", {})

    reviews = _paced(world, create, count=count, rate=rate)
    after = buckets(admin.text("/metrics"))
    return reviews, bound({le: number - before.get(le, 0) for le, number in after.items()}, 99)


def buckets(metrics: str) -> dict[float, float]:
    """Read the histogram of the webhooks' durations: by upper bound in seconds, how many were below."""
    found: dict[float, float] = {}
    for le, number in _BUCKET.findall(metrics):
        found[float(le)] = found.get(float(le), 0) + float(number)
    return found


def bound(counts: dict[float, float], percent: float) -> float | None:
    """Return the upper bound of the bucket that a percentile is in; None if nothing was counted."""
    total = max(counts.values(), default=0)
    return (
        min((le for le, number in counts.items() if number >= total * percent / 100), default=None) if total else None
    )


def _paced(world: World, review: Callable[[int, Model], bool], *, count: int, rate: float) -> Reviews:
    begun = time.monotonic()

    def one(i: int) -> tuple[float, float | None, bool]:
        due = begun + i / rate
        pause = due - time.monotonic()
        time.sleep(max(0.0, pause))  # what comes at a rate can only be waited for
        sent = time.monotonic()
        patched = review(i, world.models[i % len(world.models)])
        return time.monotonic() - sent, sent - due if pause > 0 else None, patched

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        done = list(pool.map(one, range(count)))
    expected = sum(world.models[i % len(world.models)].placement == "prefer" for i in range(count))
    waking = Spread.of([late for _, late, _ in done if late is not None])
    return Reviews(Spread.of([took for took, _, _ in done]), waking, sum(patched for *_, patched in done), expected)


def _review(i: int, model: Model) -> Json:
    pod = objects.pod(model.namespace, f"review-{i:05}", "", (model.claim,))
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": objects.identity("review", i),
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "name": pod["metadata"]["name"], "namespace": model.namespace, "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod, "oldObject": None, "dryRun": True,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    }  # fmt: skip


class _Connection(HTTPSConnection):
    """To this machine, whatever name the certificate is for."""

    def __init__(self, hook: Hook, context: ssl.SSLContext) -> None:
        super().__init__(hook.name, hook.port, timeout=_TIMEOUT, context=context)
        self._address = ("127.0.0.1", hook.port)
        self._create_connection = self._to_this_machine

    def _to_this_machine(self, _address: object, timeout: float, *_: object) -> object:
        return socket.create_connection(self._address, timeout)
