"""The chart, asked of Helm and of a real API server: nothing is installed by these."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_model.cli.serve import serve
from e2e.cluster import programs
from e2e.cluster.cluster import Cluster
from e2e.cluster.shell import CommandFailed, run
from e2e.driver import Driver
from e2e.kube import Kube
from e2e.volumes import model_volume
from hack import render

EVERYTHING = Path(__file__).parent / "everything.yaml"
PROMETHEUS = "monitoring.coreos.com/v1"  # the cluster hasn't the operator's definitions
VOLUME = "m-" + "0" * 40


@pytest.fixture
def volume(driver: Driver) -> Iterator[Kube]:
    """Yield the API, with a ModelVolume in it."""
    item = model_volume(VOLUME)
    driver.kube.apply(item)
    yield driver.kube
    driver.kube.delete("modelvolume", VOLUME)


@pytest.mark.parametrize("values", [[], ["--values", str(EVERYTHING)]], ids=["defaults", "everything"])
def test_helm_finds_no_fault(values):
    run(programs.helm(), "lint", "--strict", render.CHART, "--kube-version", render.TESTED, *values)


def test_install_yaml_is_what_the_chart_gives():
    assert render.TARGET.read_text() == render.rendered(str(programs.helm()))


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("nonsense=1", "additional properties 'nonsense' not allowed"),
        ("node.nonsense=1", "additional properties 'nonsense' not allowed"),
        ("store.hostPath=relative", "/store/hostPath"),
        ("image.tag=latest", "/image/tag"),
        ("secrets.access=some", "value must be one of 'cluster', 'namespaces', 'none'"),
        ("steering.silentAfter=40", "steering.silentAfter (40) has to be twice steering.heartbeat (30) or more"),
        ("storageClasses[0].name=x", "missing property 'parameters'"),
        ("store.requireMount=/mnt/nvme", "has to be store.requireMount (/mnt/nvme) or a directory inside it"),
    ],
)
def test_a_wrong_value_is_refused(setting, complaint):
    with pytest.raises(CommandFailed) as refused:
        template("--set", setting)
    assert complaint in str(refused.value)


@pytest.mark.parametrize("name", ["csi-model-node", "csi-model-controller"])
def test_the_command_line_of_everything_is_understood(name):
    [made] = [it for it in template("--values", EVERYTHING) if it["metadata"]["name"] == name and "args" in str(it)]
    options = [it for it in made["spec"]["template"]["spec"]["containers"][0]["args"] if "ca-bundle" not in it]
    with serve.make_context("serve", options[1:]) as context:
        assert context.params["page_cache"] in ("auto", "never")


def test_a_required_mount_is_looked_for_on_the_host():
    [agent] = [it for it in template("--values", EVERYTHING) if it["kind"] == "DaemonSet"]
    pod = agent["spec"]["template"]["spec"]
    [mount] = [it for it in pod["containers"][0]["volumeMounts"] if it["name"] == "store"]
    [host] = [it["hostPath"]["path"] for it in pod["volumes"] if it["name"] == "store"]
    assert (host, mount["mountPath"], mount["mountPropagation"]) == ("/mnt", "/host/mnt", "HostToContainer")
    assert "--require-mount=/host/mnt/nvme" in pod["containers"][0]["args"]
    assert {"name": "CSIMODEL_STORE", "value": "/host/mnt/nvme/csi-model/store"} in pod["containers"][0]["env"]


@pytest.mark.parametrize("access", ["cluster", "namespaces", "none"])
def test_secrets_are_readable_where_the_values_say(access):
    roles = [it for it in template("--set", f"secrets.access={access}") if any(map(is_of_all_secrets, rules_of(it)))]
    assert [it["kind"] for it in roles] == {"cluster": ["ClusterRole"], "namespaces": ["Role"], "none": []}[access]


@pytest.mark.parametrize("source", ["install.yaml", "everything"])
def test_the_api_server_takes_every_object(cluster: Cluster, source):
    objects = documents(render.TARGET.read_text()) if source == "install.yaml" else template("--values", EVERYTHING)
    known = [it for it in objects if it["apiVersion"] != PROMETHEUS]
    if not cluster.kubectl("get", "namespace", render.NAMESPACE, "--ignore-not-found"):
        cluster.kubectl("create", "namespace", render.NAMESPACE)
    said = cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(known))
    assert said.count("(server dry run)") == len(known)


def test_the_controllers_pod_fits_the_restricted_standard_and_the_agents_does_not(kube):
    label = "pod-security.kubernetes.io/enforce=restricted"
    kube.kubectl("label", "namespace", kube.namespace, label)
    kube.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod_of("Deployment")))
    with pytest.raises(CommandFailed, match="violates PodSecurity"):
        kube.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod_of("DaemonSet")))


@pytest.mark.parametrize(
    "change",
    [{"source": "s3://models/other"}, {"manifest": "eJwDAAAAAAA="}, {"context": {"more": "x"}}, {"capabilities": []}],
    ids=lambda change: next(iter(change)),
)
def test_what_a_volume_is_cannot_be_changed(volume: Kube, change):
    with pytest.raises(CommandFailed, match="is immutable"):
        volume.kubectl("patch", "mv", VOLUME, "--type=merge", "-p", json.dumps({"spec": change}))


def test_what_a_volume_is_cannot_be_taken_away(volume: Kube):
    with pytest.raises(CommandFailed, match="Required value"):
        volume.kubectl("patch", "mv", VOLUME, "--type=merge", "-p", '{"spec": {"size": null}}')


def test_a_volumes_claim_can_change(volume: Kube):
    claim = {"spec": {"claim": {"namespace": "team", "name": "qwen"}}}
    volume.kubectl("patch", "mv", VOLUME, "--type=merge", "-p", json.dumps(claim))
    assert volume.kubectl("get", "mv", VOLUME, "--no-headers").split()[:4] == [
        VOLUME,
        "team",
        "qwen",
        "s3://models/qwen",
    ]


def rules_of(item: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = item["rules"] if item["kind"] in ("Role", "ClusterRole") else []
    return found


def is_of_all_secrets(rule: dict[str, Any]) -> bool:
    return "secrets" in rule["resources"] and not rule.get("resourceNames")


def template(*values: str | Path) -> list[dict[str, Any]]:
    """Return what the chart gives."""
    words = ["template", "csi-model", render.CHART, "--namespace", render.NAMESPACE, "--kube-version", render.TESTED]
    return documents(run(programs.helm(), *words, *values))


def documents(text: str) -> list[dict[str, Any]]:
    return [it for it in yaml.safe_load_all(text) if it]


def pod_of(kind: str) -> dict[str, Any]:
    """Return a pod like those of the DaemonSet or Deployment, with the namespace's default account."""
    [made] = [it for it in documents(render.TARGET.read_text()) if it["kind"] == kind]
    spec = {**made["spec"]["template"]["spec"], "serviceAccountName": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": kind.lower()}, "spec": spec}
