"""The harness itself: pods run, nodes can be rebooted and lost, and a shared disk is nobody's but its node's."""

import pytest
from botocore.exceptions import ClientError

from e2e.cluster import place
from e2e.cluster.cluster import Cluster
from e2e.kube import Kube, pod
from e2e.object_store import ObjectStore


def container_id(kube: Kube, name: str) -> str:
    found = kube.get("pod", name)
    assert found
    return str(found["status"]["containerStatuses"][0]["containerID"])


def restarts(kube: Kube, name: str) -> int:
    found = kube.get("pod", name)
    return int(found["status"]["containerStatuses"][0]["restartCount"]) if found else 0


def test_a_pod_reaches_the_api_server_by_its_service(kube):
    kube.apply(pod("client", "nc", "-w", "5", place.SERVICE_IP, "443", "-e", "true"))
    kube.pod_done("client")


def test_pods_of_different_nodes_reach_each_other(kube):
    kube.apply(pod("server", "sh", "-c", "echo well | nc -l -p 8000; sleep inf", node="node2"))
    server = kube.pod_ready("server")
    kube.apply(
        pod("client", "sh", "-c", f"until nc -w 2 {server['status']['podIP']} 8000; do sleep 0.1; done", node="node3")
    )
    kube.pod_done("client")
    assert kube.logs("client").strip() == "well"


def test_containers_outlive_kubelet_and_containerd(kube, cluster: Cluster):
    kube.apply(pod("sleeper", node="node1"))
    kube.pod_ready("sleeper")
    before = container_id(kube, "sleeper")
    cluster.node(1).restart_containerd()
    cluster.node(1).restart_kubelet()
    kube.wait_for(lambda: "here" in kube.execute("sleeper", "echo", "here", check=False), 30, "the pod answers")
    assert container_id(kube, "sleeper") == before


def test_a_node_comes_back_from_a_reboot_with_its_disk(kube, cluster: Cluster):
    node = cluster.node(3)
    kube.apply(pod("sleeper", node=node.name, restartPolicy="Always"))
    kube.pod_ready("sleeper")
    node.run("touch", "/var/lib/csi-model/still-here")
    node.reboot()
    kube.wait_for(lambda: restarts(kube, "sleeper"), 60, lambda: kube.story("pod", "sleeper"))
    kube.pod_ready("sleeper")
    node.run("rm", "/var/lib/csi-model/still-here")


def test_each_node_has_a_disk_of_its_own_that_takes_direct_io(cluster: Cluster):
    file = "/var/lib/csi-model/direct"
    cluster.node(1).run("dd", "if=/dev/zero", f"of={file}", "bs=1M", "count=2", "oflag=direct")
    assert cluster.node(1).path(file).stat().st_size == 2 * 1024**2
    assert not cluster.node(2).path(file).exists()
    cluster.node(1).run("rm", file)


def test_the_store_gives_a_reader_its_bucket_and_no_other(object_store: ObjectStore):
    model = object_store.put_model("harness", "a/model", {"weights.bin": 100_000})
    object_store.bucket("harness-closed")
    reader = object_store.client_for(object_store.reader("harness-reader", "harness"), object_store.slow_endpoint)
    got = reader.get_object(Bucket=model.bucket, Key=f"{model.prefix}/weights.bin")["Body"].read()
    assert len(got) == model.size
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.list_objects_v2(Bucket="harness-closed")
