"""What scenarios do with the cluster's API: thin helpers over kubectl; every wait has a limit and says what for."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from e2e.cluster.cluster import Cluster
from e2e.cluster.images import BUSYBOX
from e2e.cluster.shell import TookTooLong

Object = dict[str, Any]
Found = TypeVar("Found")
_PAUSE = 0.2  # seconds between looks


class Kube:
    """The API, from a namespace's point of view."""

    def __init__(self, cluster: Cluster, namespace: str = "default") -> None:
        self.cluster = cluster
        self.namespace = namespace

    def inside(self, namespace: str) -> "Kube":
        return Kube(self.cluster, namespace)

    # --- Objects ---

    def apply(self, *objects: Mapping[str, Any] | str) -> None:
        """Apply objects, or YAML texts; those without a namespace go to ours. CommandFailed."""
        for one in objects:
            text = one if isinstance(one, str) else json.dumps(one)
            self.kubectl("apply", "-f", "-", stdin=text)

    def get(self, kind: str, name: str) -> Object | None:
        """Return an object, or None if there is none."""
        said = self.kubectl("get", kind, name, "--ignore-not-found", "-o", "json")
        return _object(said) if said.strip() else None

    def all(self, kind: str, *, selector: str = "", fields: str = "") -> list[Object]:
        """Return the objects of a kind that match selectors of labels and fields."""
        said = self.kubectl("get", kind, "-o", "json", f"--selector={selector}", f"--field-selector={fields}")
        found: list[Object] = json.loads(said)["items"]
        return found

    def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        """Merge a change into an object."""
        self.kubectl("patch", kind, name, "--type=merge", "--patch", json.dumps(change))

    def delete(self, kind: str, name: str, *, timeout: float = 120, grace: int | None = None) -> None:
        """Delete an object, if it is there, and wait until it is gone; CommandFailed."""
        words = [] if grace is None else [f"--grace-period={grace}"]
        wait = [f"--timeout={timeout:.0f}s", "--wait"]
        self.kubectl("delete", kind, name, "--ignore-not-found", *wait, *words, timeout=timeout + 10)

    def kubectl(self, *arguments: str, timeout: float = 60, stdin: str = "", check: bool = True) -> str:
        words = (f"--namespace={self.namespace}", *arguments)
        return self.cluster.kubectl(*words, timeout=timeout, stdin=stdin, check=check)

    # --- Waiting ---

    def wait_for(
        self, look: Callable[[], Found | None], timeout: float, what: str | Callable[[], str], *, pause: float = _PAUSE
    ) -> Found:
        """Return what `look` returns once that is true; TookTooLong.

        Args:
            look: is called again and again.
            timeout: seconds.
            what: is awaited; if a function, it is asked only on failure and may say how things are.
            pause: seconds between two looks.

        """
        deadline = time.monotonic() + timeout
        while not (found := look()):
            if time.monotonic() > deadline:
                raise TookTooLong(f"not within {timeout:.0f} s: {what() if callable(what) else what}")
            time.sleep(pause)
        return found

    def pod_ready(self, name: str, timeout: float = 120) -> Object:
        """Wait until a pod is Ready and return it; TookTooLong says how it is and its events."""
        return self.wait_for(lambda: self._ready(name), timeout, lambda: f"pod {name} Ready. {self.story('pod', name)}")

    def pod_done(self, name: str, timeout: float = 60) -> Object:
        """Wait until a pod has Succeeded and return it; TookTooLong."""

        def done() -> Object | None:
            pod = self.get("pod", name)
            return pod if pod and pod["status"].get("phase") == "Succeeded" else None

        return self.wait_for(done, timeout, lambda: f"pod {name} Succeeded. {self.story('pod', name)}")

    def rolled_out(self, kind: str, name: str, timeout: float = 120) -> None:
        """Wait until a Deployment's or DaemonSet's pods are all new and available; CommandFailed."""
        self.kubectl("rollout", "status", f"{kind}/{name}", f"--timeout={timeout:.0f}s", timeout=timeout + 10)

    def event(self, kind: str, name: str, reason: str, *words: str, timeout: float = 120) -> Object:
        """Wait for an event about an object, with this reason and all of these words, and return it; TookTooLong."""

        def look() -> Object | None:
            said = [event for event in self.events_of(kind, name) if event["reason"] == reason]
            return next((event for event in said if all(word in event["message"] for word in words)), None)

        return self.wait_for(look, timeout, lambda: f"event {reason} {words}. {self.story(kind, name)}")

    # --- Pods ---

    def events_of(self, kind: str, name: str) -> list[Object]:
        """Return the events about an object, oldest first; kind as in `PersistentVolumeClaim`, or `pod`, `pvc`."""
        kind = {"pod": "Pod", "pvc": "PersistentVolumeClaim", "pv": "PersistentVolume"}.get(kind, kind)
        events = self.all("events", fields=f"involvedObject.kind={kind},involvedObject.name={name}")
        return sorted(events, key=lambda event: event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])

    def story(self, kind: str, name: str) -> str:
        """Tell an object's status and events, for the message of a failure."""
        events = "\n  ".join(f"{e['type']} {e['reason']}: {e['message']}" for e in self.events_of(kind, name)[-10:])
        status = (self.get(kind, name) or {}).get("status")
        return f"It is {json.dumps(status)[:1500]}\n  {events}"

    def logs(self, pod: str, *, container: str = "", previous: bool = False) -> str:
        words = [f"--container={container}"] if container else ["--all-containers"]
        return self.kubectl("logs", pod, *words, *(["--previous"] if previous else []))

    def execute(self, pod: str, *command: str, container: str = "", timeout: float = 60, check: bool = True) -> str:
        """Run a command in a pod and return what it prints; CommandFailed."""
        words = [f"--container={container}"] if container else []
        return self.kubectl("exec", pod, *words, "--", *command, timeout=timeout, check=check)

    def _ready(self, name: str) -> Object | None:
        pod = self.get("pod", name)
        conditions = (pod or {}).get("status", {}).get("conditions", [])
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
        return pod if ready else None


@contextmanager
def namespace(kube: Kube, name: str) -> Iterator[Kube]:
    """Yield a new namespace that pods can run in; its pods are gone afterwards, the rest goes in the background."""
    account = ("get", "serviceaccount", "default", "--ignore-not-found", "-o", "name")
    inside = kube.inside(name)
    kube.delete("namespace", name)  # one that an earlier run left, or that is still going
    kube.kubectl("create", "namespace", name)
    try:
        inside.wait_for(lambda: inside.kubectl(*account), 120, f"namespace {name} has its service account")
        yield inside
    finally:
        inside.kubectl("delete", "pods", "--all", "--grace-period=1", "--timeout=90s", timeout=100)
        kube.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def pod(name: str, *command: str, node: str = "", **spec: Any) -> Object:
    """Return a pod with one busybox container, `main`; keys of `spec` are added to its spec.

    Args:
        name: of the pod.
        command: what it runs; by default it sleeps.
        node: the node that it must run on.
        spec: such as volumes; `volumeMounts` and other keys of the container go in `container`.

    """
    container = {
        "name": "main",
        "image": BUSYBOX,
        "imagePullPolicy": "Never",
        # A shell with a trap: PID 1 is deaf to a TERM that it has no handler for, and would take its grace period
        "command": list(command) or ["sh", "-c", "trap exit TERM; sleep inf & wait"],
        **spec.pop("container", {}),
    }
    selector = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    body = {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "dnsPolicy": "Default",
        "containers": [container], **selector, **spec,
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}


def claim(name: str, storage_class: str, *, annotations: Mapping[str, str] | None = None, size: str = "1Mi") -> Object:
    """Return a claim of a model volume."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "annotations": dict(annotations or {})},
        "spec": {
            "storageClassName": storage_class,
            "accessModes": ["ReadOnlyMany"],
            "resources": {"requests": {"storage": size}},
        },
    }


def with_claim(name: str, claim_name: str, *command: str, path: str = "/model", **spec: Any) -> Object:
    """Return a pod that mounts a claim; see pod."""
    return pod(
        name,
        *command,
        volumes=[{"name": "model", "persistentVolumeClaim": {"claimName": claim_name}}],
        container={"volumeMounts": [{"name": "model", "mountPath": path, "readOnly": True}]},
        **spec,
    )


def environment(values: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    """Return variables as a container's `env` wants them."""
    return [{"name": name, "value": value} for name, value in values.items()]


def _object(text: str) -> Object:
    found: Object = json.loads(text)
    return found
