"""What manifests/ says, for tests that look at it: no Helm, no cluster."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "manifests" / "chart"
Object = dict[str, Any]
RBAC = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


@cache
def installed() -> tuple[Object, ...]:
    """Return every object of install.yaml."""
    documents = yaml.safe_load_all((ROOT / "manifests" / "install.yaml").read_text())
    return tuple(document for document in documents if document)


def one(kind: str, name: str) -> Object:
    """Return the one object of that kind and name."""
    [found] = [item for item in installed() if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def pods() -> dict[str, Object]:
    """Return the pod templates' specs by the name of what makes the pods."""
    return {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]
        for item in installed()
        if item["kind"] in ("DaemonSet", "Deployment")
    }


def containers() -> dict[str, Object]:
    """Return every container by pod and name."""
    return {f"{pod}/{it['name']}": it for pod, spec in pods().items() for it in spec["containers"]}


def arguments(container: str) -> list[str]:
    return [str(argument) for argument in containers()[container]["args"]]


def rights(account: str) -> set[tuple[str, str, str, str]]:
    """Return what a ServiceAccount may do: (where, resource, verb, name), where "" is the whole cluster."""
    found = set()
    for binding in installed():
        subjects = [subject["name"] for subject in binding.get("subjects", ())]
        if binding["kind"] not in ("ClusterRoleBinding", "RoleBinding") or account not in subjects:
            continue
        where = binding["metadata"].get("namespace", "")
        for rule in one(binding["roleRef"]["kind"], binding["roleRef"]["name"])["rules"]:
            found |= {
                (where, resource, verb, name)
                for resource in rule["resources"]
                for verb in rule["verbs"]
                for name in rule.get("resourceNames", [""])
            }
    return found
