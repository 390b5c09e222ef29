"""etcd, API server, controller manager and scheduler, in a network namespace of their own."""

import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e.cluster import place, programs
from e2e.cluster.pki import Pki
from e2e.cluster.processes import Process
from e2e.cluster.shell import run, until

_FOLDER = place.STATE / "control-plane"
_LOCAL = "http://127.0.0.1"
NODE_GRACE = 20  # seconds without a word after which a node counts as lost


def start(pki: Pki) -> None:
    """Start it all and wait until the API server is ready; TookTooLong, NotFetched."""
    found = programs.kubernetes()
    _start("etcd", programs.etcd(), [*_etcd_flags()])
    _start("kube-apiserver", found["kube-apiserver"], _apiserver_flags(pki))
    until(lambda: ready(pki), "the API server is ready", 120, pause=0.1)
    for name, flags in (("kube-controller-manager", _controllers_flags(pki)), ("kube-scheduler", [])):
        _start(name, found[name], [*_client_flags(pki, name), *flags])


def ready(pki: Pki) -> bool:
    kubectl = programs.kubernetes()["kubectl"]
    command: list[str | Path] = [
        kubectl,
        "--kubeconfig",
        pki.kubeconfig("admin"),
        "--request-timeout=2s",
        "get",
        "--raw",
        "/readyz",
    ]
    return run(*command, check=False).strip() == "ok"


def stop() -> None:
    """End what runs of it: the API server first, which else spends its time on the others' last words."""
    Process("kube-apiserver").kill(signal.SIGKILL)
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: Process(name).stop(), names))


def within(command: Sequence[str | Path]) -> list[str | Path]:
    """Return the command that runs in the control plane's network namespace."""
    return ["nsenter", f"--net={place.namespace_file(place.CONTROL_PLANE)}", *command]


def logs() -> list[Path]:
    return sorted(_FOLDER.glob("*.log"))


def _start(name: str, program: Path, flags: list[str]) -> None:
    Process(name).start(within([program, *flags]), _FOLDER / f"{name}.log")


def _etcd_flags() -> list[str]:
    return [
        "--name=e2e", f"--data-dir={_FOLDER / 'etcd'}", "--unsafe-no-fsync",
        f"--listen-client-urls={_LOCAL}:2379", f"--advertise-client-urls={_LOCAL}:2379",
        f"--listen-peer-urls={_LOCAL}:2380", f"--initial-advertise-peer-urls={_LOCAL}:2380",
        f"--initial-cluster=e2e={_LOCAL}:2380",
    ]  # fmt: skip


def _apiserver_flags(pki: Pki) -> list[str]:
    return [
        f"--etcd-servers={_LOCAL}:2379",
        "--bind-address=0.0.0.0", "--secure-port=443", f"--advertise-address={place.CLUSTER_IP}",
        f"--service-cluster-ip-range={place.SERVICE_NETWORK}",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=false",
        "--allow-privileged=true", "--profiling=false",
        f"--client-ca-file={pki.ca}",
        f"--tls-cert-file={pki.certificate('apiserver')}", f"--tls-private-key-file={pki.key('apiserver')}",
        f"--kubelet-client-certificate={pki.certificate('apiserver-to-kubelet')}",
        f"--kubelet-client-key={pki.key('apiserver-to-kubelet')}",
        f"--kubelet-certificate-authority={pki.ca}", "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki.account_public}", f"--service-account-signing-key-file={pki.account_key}",
        "--enable-aggregator-routing=true",  # webhooks' Services by their endpoints: there is no kube-proxy
    ]  # fmt: skip


def _client_flags(pki: Pki, name: str) -> list[str]:
    return [f"--kubeconfig={pki.kubeconfig(name)}", "--leader-elect=false", "--bind-address=127.0.0.1"]


def _controllers_flags(pki: Pki) -> list[str]:
    return [
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki.account_key}", f"--root-ca-file={pki.ca}",
        f"--cluster-signing-cert-file={pki.ca}", f"--cluster-signing-key-file={pki.ca_key}",
        f"--node-monitor-grace-period={NODE_GRACE}s", "--node-monitor-period=2s",
    ]  # fmt: skip
