"""What runs, and how little it may do."""

import pytest

from tests.manifests.reading import containers, one, pods

AGENT = "csi-model-node/csi-model"
UNPRIVILEGED = [f"csi-model-controller/{name}" for name in ("csi-model", "csi-provisioner", "csi-resizer")]


def test_there_is_one_container_per_node_and_three_in_the_controller():
    assert sorted(containers()) == sorted([AGENT, *UNPRIVILEGED])


@pytest.mark.parametrize("container", [AGENT, *UNPRIVILEGED])
def test_every_root_file_system_is_read_only(container):
    assert containers()[container]["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("container", [AGENT, *UNPRIVILEGED])
def test_every_image_has_a_version(container):
    _, _, tag = containers()[container]["image"].rpartition(":")
    assert tag
    assert tag != "latest"


@pytest.mark.parametrize("container", [AGENT, *UNPRIVILEGED])
def test_every_container_asks_for_cpu_and_memory(container):
    assert set(containers()[container]["resources"]["requests"]) == {"cpu", "memory"}


@pytest.mark.parametrize("container", UNPRIVILEGED)
def test_the_controller_fits_the_restricted_pod_security_standard(container):
    context = containers()[container]["securityContext"]
    pod = pods()["csi-model-controller"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["allowPrivilegeEscalation"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all("hostPath" not in volume for volume in pod["volumes"])


def test_no_pod_shares_the_hosts_network_or_processes():
    for pod in pods().values():
        assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))


def test_the_agent_has_no_memory_limit_since_the_page_cache_would_count():
    assert "limits" not in containers()[AGENT]["resources"]


def test_the_agent_sees_kubelets_directory_where_kubelet_does():
    [mount] = [it for it in containers()[AGENT]["volumeMounts"] if it["name"] == "kubelet"]
    [volume] = [it for it in pods()["csi-model-node"]["volumes"] if it["name"] == "kubelet"]
    assert mount["mountPath"] == volume["hostPath"]["path"]
    assert mount["mountPropagation"] == "Bidirectional"


def test_agents_run_on_tainted_nodes_too():
    assert pods()["csi-model-node"]["tolerations"] == [{"operator": "Exists"}]


def test_controllers_that_do_not_work_hold_up_no_drain():
    budget = one("PodDisruptionBudget", "csi-model-controller")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_every_mount_has_its_volume():
    for name, pod in pods().items():
        mounts = {it["name"] for container in pod["containers"] for it in container["volumeMounts"]}
        assert mounts == {volume["name"] for volume in pod["volumes"]}, name


def test_the_csidriver_promises_what_the_driver_does():
    assert one("CSIDriver", "csi-model.io")["spec"] == {
        "attachRequired": False,
        "fsGroupPolicy": "None",
        "podInfoOnMount": True,
        "volumeLifecycleModes": ["Persistent", "Ephemeral"],
        "seLinuxMount": False,
        "requiresRepublish": False,
        "storageCapacity": False,
    }
