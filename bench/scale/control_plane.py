"""etcd and an API server on loopback, with keys and files of their own. No controllers, no scheduler, no kubelets."""

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from bench.scale.client import Client, Json, Refused
from bench.scale.processes import free_port, running
from e2e.cluster import programs
from e2e.cluster.pki import Pki

NAMESPACE = "csi-model"
ACCOUNT = "csi-model-controller"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
_PATIENCE = 120.0  # seconds until the API server is ready
_PAUSE = 0.1
# What the controller writes, and nothing else: one line each
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "users": [USER], "verbs": ["create", "update", "patch", "delete"]},
        {"level": "None"},
    ],
}


class NotReady(Exception):
    """The API server didn't start; the text has its last words."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running one.

    Attributes:
        port: of the API server on 127.0.0.1.
        pki: its keys.
        admin: may do everything.
        audit: file of the controller's writes.
        folder: of everything.
        servers: pids of the API server and etcd.

    """

    port: int
    pki: Pki
    admin: Client
    audit: Path
    folder: Path
    servers: tuple[int, int]

    def kubeconfig(self, account: str, seconds: int) -> Path:
        """Write a kubeconfig with a service account's own token, valid so long."""
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token"
        request: Json = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                         "spec": {"expirationSeconds": seconds}}  # fmt: skip
        token = self.admin.create(path, request)["status"]["token"]
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self.pki.ca)}
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "scale",
            "clusters": [{"name": "scale", "cluster": cluster}],
            "users": [{"name": account, "user": {"token": token}}],
            "contexts": [{"name": "scale", "context": {"cluster": "scale", "user": account}}],
        }  # fmt: skip
        file = self.folder / f"{account}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(json.dumps(config))
        return file


@contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Run it; NotReady, NotFetched."""
    found = programs.kubernetes()
    pki = Pki(folder / "pki")
    pki.make(())
    audit, policy = folder / "audit.log", folder / "audit-policy.json"
    audit.touch()
    policy.write_text(json.dumps(_AUDIT))
    port, client_port, peer_port = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        etcd = stack.enter_context(
            running([programs.etcd(), *_etcd_flags(folder, client_port, peer_port)], log=folder / "etcd.log")
        )
        flags = [
            *_apiserver_flags(pki, port, client_port),
            f"--audit-policy-file={policy}",
            f"--audit-log-path={audit}",
        ]
        server = stack.enter_context(running([found["kube-apiserver"], *flags], log=folder / "kube-apiserver.log"))
        admin = Client(port, pki.ca, pki.certificate("admin"), pki.key("admin"))
        stack.callback(admin.close)
        _wait(admin, lambda: server.poll() is None, folder / "kube-apiserver.log")
        yield ControlPlane(port, pki, admin, audit, folder, (server.pid, etcd.pid))


def _wait(admin: Client, lives: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _ready(admin):
        if not lives() or time.monotonic() > deadline:
            raise NotReady(f"kube-apiserver: {log.read_text(errors='replace')[-1500:]}")
        time.sleep(_PAUSE)


def _ready(admin: Client) -> bool:
    try:
        return admin.text("/readyz") == "ok"
    except (OSError, ssl.SSLError, HTTPException, Refused):
        return False


def _etcd_flags(folder: Path, client: int, peer: int) -> list[str]:
    at, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        "--name=scale", f"--data-dir={folder / 'etcd'}", "--quota-backend-bytes=8589934592", "--log-level=warn",
        f"--listen-client-urls={at}", f"--advertise-client-urls={at}",
        f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=scale={peers}",
    ]  # fmt: skip


def _apiserver_flags(pki: Pki, port: int, etcd: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1", f"--secure-port={port}", "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=false",
        # New nodes would be tainted until a controller manager sees that they are ready
        "--disable-admission-plugins=TaintNodesByCondition",
        "--profiling=false", f"--client-ca-file={pki.ca}",
        f"--tls-cert-file={pki.certificate('apiserver')}", f"--tls-private-key-file={pki.key('apiserver')}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki.account_public}", f"--service-account-signing-key-file={pki.account_key}",
    ]  # fmt: skip
