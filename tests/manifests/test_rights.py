"""What the driver may do in the API: this list, and nothing else."""

from tests.manifests.reading import RBAC, installed, one, rights

LEASES = "coordination.k8s.io"
NODE = {
    "modelvolumes": "get",
    "modelnodes": "get list watch",
    "modelnodes/status": "patch",
    "events": "create patch",
}
CONTROLLER = {  # with csi-provisioner and csi-resizer, which share its pod
    "persistentvolumes": "get list watch create patch delete",
    "persistentvolumeclaims": "get list watch update patch",
    "persistentvolumeclaims/status": "patch",
    "volumeattributesclasses": "get list watch",
    "storageclasses": "get list watch",
    "csinodes": "get list watch",
    "nodes": "get list watch patch",
    "pods": "list watch",
    "modelnodes": "get list watch create patch delete",
    "modelvolumes/status": "patch",
    "modelvolumes": "get list watch create patch delete",
    "events": "create patch",
}

AT_HOME = {
    ("csi-model", "secrets", "get", ""),
    ("csi-model", "leases", "create", ""),
    ("csi-model", "leases", "get", "csi-model-controller"),
    ("csi-model", "leases", "patch", "csi-model-controller"),
    ("csi-model", "leases", "get", "csi-model-io"),
    ("csi-model", "leases", "update", "csi-model-io"),
    ("csi-model", "leases", "get", "external-resizer-csi-model-io"),
    ("csi-model", "leases", "update", "external-resizer-csi-model-io"),
}
WEBHOOK = {
    ("csi-model", "secrets", "get", "csi-model-webhook"),
    ("csi-model", "secrets", "patch", "csi-model-webhook"),
    ("", "mutatingwebhookconfigurations", "get", "csi-model"),
    ("", "mutatingwebhookconfigurations", "patch", "csi-model"),
}


def everywhere(listed: dict[str, str]) -> set[tuple[str, str, str, str]]:
    return {("", resource, verb, "") for resource, verbs in listed.items() for verb in verbs.split()}


def test_a_node_agent_may_get_volumes_watch_its_node_and_say_what_it_has():
    assert rights("csi-model-node") == everywhere(NODE)


def test_the_controller_may_do_what_is_listed_and_at_home_lead_and_get_secrets():
    assert rights("csi-model-controller") == everywhere(CONTROLLER) | AT_HOME | WEBHOOK


def test_a_node_agent_reads_no_secrets_and_touches_no_nodes():
    assert not {"secrets", "nodes"} & {resource for _, resource, _, _ in rights("csi-model-node")}


def test_nobody_lists_secrets_and_only_the_webhooks_certificate_is_written():
    found = {(verb, name) for _, resource, verb, name in rights("csi-model-controller") if resource == "secrets"}
    assert found == {("get", ""), ("get", "csi-model-webhook"), ("patch", "csi-model-webhook")}


def test_no_rule_has_a_star():
    rules = [rule for item in installed() if item["kind"] in ("ClusterRole", "Role") for rule in item["rules"]]
    assert all("*" not in rule[part] for rule in rules for part in ("apiGroups", "resources", "verbs"))


def test_every_binding_is_for_an_account_of_ours_in_our_namespace():
    bindings = [item for item in installed() if item["kind"] in RBAC and "subjects" in item]
    for subject in (subject for binding in bindings for subject in binding["subjects"]):
        assert subject["kind"] == "ServiceAccount"
        assert subject["namespace"] == "csi-model"
        assert one("ServiceAccount", subject["name"])["automountServiceAccountToken"] is False
