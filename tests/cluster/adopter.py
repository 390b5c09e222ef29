"""What the tests of adopting share: a resolver to order, and how to wait for what the API shows."""

import threading

from tests.cluster.pvs import RECORDS
from tests.contracts.registry_contract import record

MANIFEST = record().manifest
TEAM = "/api/v1/namespaces/team/events"
NOWHERE = "/api/v1/namespaces/default/events"
SECRET = {"auth": "secret", "source": "s3://models/qwen"}


class Resolver:
    """Resolves everything to one manifest; waits, fails and remembers to order."""

    def __init__(self):
        self.asked, self.errors = [], []
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Semaphore(0)

    def __call__(self, spec, secrets):
        self.asked.append((str(spec.source), dict(secrets)))
        self.arrived.release()
        assert self.gate.wait(30)
        if self.errors:
            raise self.errors.pop(0)
        return MANIFEST


def wait(server, condition):
    """Wait until the objects of the API fulfil a condition."""
    with server.objects.changed:
        assert server.objects.changed.wait_for(condition, timeout=10)


def names(server):
    return [item["metadata"]["name"] for item in server.all(RECORDS)]


def said(server, path, reason="ModelVolumeFailed"):
    found = [event for event in server.all(path) if event["reason"] == reason]
    return found[0]["message"] if found else ""


def settled(adopting):
    """Wait until nobody has anything to do."""
    due = adopting._due
    for watch in adopting._watches:
        assert watch.synced.wait(10)
    for _ in range(1000):
        with due._changed:
            if not due._taken and not due._times:
                return
            due._changed.wait(0.01)
    raise AssertionError("there is always something to do")


def registered(server):
    (item,) = server.all(RECORDS)
    return item["spec"]["volumeName"]
