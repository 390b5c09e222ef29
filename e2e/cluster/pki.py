"""The cluster's certificate authority, certificates and kubeconfigs."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from e2e.cluster import place

_SERVER_NAMES = (
    place.CLUSTER_IP, place.SERVICE_IP, "127.0.0.1", "localhost",
    "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
)  # fmt: skip


class Pki:
    """Keys and certificates in a folder, made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.crt"
        self.ca_key = folder / "ca.key"
        self.account_key = folder / "accounts.key"
        self.account_public = folder / "accounts.pub"

    def make(self, nodes: Iterable[int]) -> None:
        self.folder.mkdir(parents=True)
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        authority.cert_pem.write_to_path(self.ca)
        authority.private_key_pem.write_to_path(self.ca_key)
        self._issue(authority, "apiserver", "kube-apiserver", "", *_SERVER_NAMES)
        self._issue(authority, "apiserver-to-kubelet", "apiserver", "system:masters")
        self._kubeconfig(authority, "admin", "admin", "system:masters")
        self._kubeconfig(authority, "kube-controller-manager", "system:kube-controller-manager", "")
        self._kubeconfig(authority, "kube-scheduler", "system:kube-scheduler", "")
        for number in nodes:
            self._node(authority, number)
        self._account_keys()

    def add(self, number: int) -> None:
        """Make what a node has that joins later."""
        self._node(trustme.CA.from_pem(self.ca.read_bytes(), self.ca_key.read_bytes()), number)

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def kubeconfig(self, name: str) -> Path:
        return self.folder / f"{name}.kubeconfig"

    def _node(self, authority: trustme.CA, number: int) -> None:
        name = place.node_name(number)
        self._kubeconfig(authority, name, f"system:node:{name}", "system:nodes")
        self._issue(authority, f"{name}-server", f"system:node:{name}", "system:nodes", name, place.node_ip(number))

    def _issue(self, authority: trustme.CA, file: str, name: str, group: str, *hosts: str) -> None:
        issued = authority.issue_cert(
            *(hosts or ("client.invalid",)),
            common_name=name,
            organization_name=group or "csi-model-e2e",
            key_type=trustme.KeyType.ECDSA,
        )
        issued.private_key_pem.write_to_path(self.key(file))
        self.certificate(file).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    def _kubeconfig(self, authority: trustme.CA, file: str, name: str, group: str) -> None:
        self._issue(authority, file, name, group)
        cluster = {"server": f"https://{place.CLUSTER_IP}:443", "certificate-authority-data": _text(self.ca)}
        user = {
            "client-certificate-data": _text(self.certificate(file)),
            "client-key-data": _text(self.key(file)),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
        }
        self.kubeconfig(file).write_text(json.dumps(config))

    def _account_keys(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        self.account_key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.account_public.write_bytes(public)


def _text(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
