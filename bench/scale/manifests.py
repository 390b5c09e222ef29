"""What an API server has to know of the driver, from the rendered chart: types, rights, admission; no workloads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bench.scale.client import Client, Json, Refused
from bench.scale.control_plane import NAMESPACE

INSTALL = Path(__file__).resolve().parents[2] / "manifests" / "install.yaml"
_GROUPS = {
    "v1": "/api/v1", "rbac.authorization.k8s.io/v1": "/apis/rbac.authorization.k8s.io/v1",
    "apiextensions.k8s.io/v1": "/apis/apiextensions.k8s.io/v1", "storage.k8s.io/v1": "/apis/storage.k8s.io/v1",
    "admissionregistration.k8s.io/v1": "/apis/admissionregistration.k8s.io/v1",
    "coordination.k8s.io/v1": "/apis/coordination.k8s.io/v1",
}  # fmt: skip
_KINDS = {
    "Namespace": "namespaces", "ServiceAccount": "serviceaccounts",
    "CustomResourceDefinition": "customresourcedefinitions",
    "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles",
    "RoleBinding": "rolebindings", "CSIDriver": "csidrivers", "StorageClass": "storageclasses", "Secret": "secrets",
    "ConfigMap": "configmaps", "Service": "services", "Lease": "leases",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
}  # fmt: skip
_NAMESPACED = {"ServiceAccount", "Role", "RoleBinding", "Secret", "ConfigMap", "Service", "Lease"}


def install(admin: Client, file: Path, *, webhook_port: int) -> set[str]:
    """Create it all and return the kinds.

    Args:
        admin: may create it.
        file: the rendered chart.
        webhook_port: where the controller under test serves its webhook on this machine.

    """
    kinds = set()
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    for item in (space, *_documents(file)):
        kind = item["kind"]
        if kind in _KINDS:
            _adapt(item, webhook_port)
            _create(admin, item)
            kinds.add(kind)
    return kinds


def collection(item: Json) -> str:
    """Return the path of the collection that an object belongs to."""
    inside = f"/namespaces/{item['metadata'].get('namespace', NAMESPACE)}" if item["kind"] in _NAMESPACED else ""
    return f"{_GROUPS[item['apiVersion']]}{inside}/{_KINDS[item['kind']]}"


def _documents(file: Path) -> Iterator[dict[str, Any]]:
    for document in yaml.safe_load_all(file.read_text()):
        if document:
            yield document


def _create(admin: Client, item: Json) -> None:
    try:
        admin.create(collection(item), item)
    except Refused as refusal:
        if refusal.args[1] != 409:  # noqa: PLR2004 - it is there, as the namespace's own account is
            raise


def _adapt(item: Json, port: int) -> None:
    """Lead the API server to the webhook on this machine: a Service that is a name for it keeps the certificate's."""
    if item["kind"] == "Service":
        item["spec"] = {"type": "ExternalName", "externalName": "localhost"}
    if item["kind"] == "MutatingWebhookConfiguration":
        for webhook in item["webhooks"]:
            webhook["clientConfig"]["service"]["port"] = port
