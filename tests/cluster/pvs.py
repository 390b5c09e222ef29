"""PersistentVolumes as the API has them, to the tests' order."""

from tests.contracts.registry_contract import record

PATH = "/api/v1/persistentvolumes"
RECORDS = "/apis/csi-model.io/v1alpha1/modelvolumes"
CLAIM = {"namespace": "team", "name": "qwen", "uid": "5f0c2b3e-0000-4000-8000-000000000001"}


def pv(name="pv-1", *, handle=None, phase="Available", claim=None, provisioned=False, context=None, **spec):
    context = {"source": "s3://models/qwen", "auth": "anonymous"} if context is None else context
    context = {"revision": record().manifest.digest, **context} if provisioned else context
    annotations = {"pv.kubernetes.io/provisioned-by": "csi-model.io"} if provisioned else {}
    csi = {"driver": "csi-model.io", "volumeHandle": handle or name, "volumeAttributes": context}
    csi |= spec.pop("csi", {})
    spec = {"accessModes": ["ReadOnlyMany"], "capacity": {"storage": "20Gi"}, "csi": csi, **spec}
    return {
        "metadata": {"name": name, "annotations": annotations},
        "spec": {**spec, **({"claimRef": claim} if claim else {})},
        "status": {"phase": phase},
    }
