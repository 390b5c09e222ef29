"""What docs/parameters.md says around the table of :mod:`csi_model.core.fields`."""

HEAD = """\
# Parameters of a model volume

<!-- Rendered from csi_model/core/fields.py: `python -m csi_model.core.fields > docs/parameters.md` -->

They stand in a StorageClass's `parameters`. A name that isn't in this table, or a value of another form, is refused
with INVALID_ARGUMENT before anything is asked of the source.

Those with a (†) can be changed while the volume lives, by a VolumeAttributesClass (below).

| Parameter | Form | Default | Meaning |
|---|---|---|---|
"""
TAIL = """
## Globs

`*`, `?` and `[…]` match within one name; `**` as a whole name matches any number of directories. A glob without a slash
is matched against the file's name in any directory, one with a slash against the whole path inside the model. A glob
that ends in `/**` matches what lies in the directory.

| Glob | matches | doesn't match |
|---|---|---|
| `*.safetensors` | `model.safetensors`, `text/model.safetensors` | `model.safetensors.index.json` |
| `original/**` | `original/a.pth`, `original/b/c.pth` | `original`, `x/original/a.pth` |
| `**/tokenizer*` | `tokenizer.json`, `text/tokenizer_config.json` | `tokenizer/vocab.json` |

## Whose rights

There is no fall-back from one to another.

- `auth: secret`: `accessKeyId`, `secretAccessKey` and, if there is one, `sessionToken` of the Secret that
  `csi.storage.k8s.io/provisioner-secret-name` and `csi.storage.k8s.io/node-stage-secret-name` name, with their
  namespaces.
- `auth: ambient`: the driver's own role. Refused where the claim's own words are in `source` (`${…}`), unless a glob of
  the class's `allowedSources` or of the driver's setting `ambient_allow` covers the reference: otherwise whoever can
  make a claim could read all that the driver can. In both, `s3://models/*` covers `s3://models/qwen3-8b` and not
  `s3://models/a/b`; `s3://models/**` covers both.
- `auth: anonymous`: requests aren't signed.

A Secret reaches a node only with a pod, and is never written down. So nobody could bring a model ahead of pods with it:
with `auth: secret`, a `warmReplicas` above 0 and `placement: require` are refused.

## The claim's own words

| In `source` (and `allowedSources`) | becomes |
|---|---|
| `${pvc.name}`, `${pvc.namespace}`, `${pv.name}` | the name of the claim, of its namespace, of its volume |
| `${pvc.annotations['NAME']}` (in `source` only) | the value of the claim's annotation of that name |

This needs external-provisioner's `--extra-create-metadata`, which the chart sets, and annotations need a cluster. They
are read once, when the volume is made. A claim without the annotation waits for it; the claim's events say so.

An annotation is written by whoever makes the claim. So its value has to be of letters and digits of ASCII and of
`. _ ~ : / @ + = , -`, without `..`, `.` or nothing between two slashes; there are no templates in it. And what becomes
of `source` has to be covered by `allowedSources`, which the class has to have. Where a class has that parameter, it is
checked in any case.

## Changing a volume

`warmReplicas`, `warmNodeSelector` and `pin` may stand in a VolumeAttributesClass too. A claim that names one when it is
made gets its values instead of the StorageClass's; naming another one later changes the volume (Kubernetes 1.34 or
newer, with csi-resizer, which the chart deploys). What the new one doesn't name stays as it is. `spec.wants` of the
ModelVolume tells what a volume wants now; the PersistentVolume's attributes say what it was made with.

## Examples

One model for everybody, read with the driver's own role:

```yaml
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: qwen3-8b
provisioner: csi-model.io
parameters:
  source: s3://models/qwen3-8b
  region: eu-central-1
  auth: ambient
  include: "*.safetensors, *.json"
reclaimPolicy: Delete
```

A class from which each claim gets the model that it is named after, in an object store of one's own, with a Secret:

```yaml
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: team-models
provisioner: csi-model.io
parameters:
  source: s3://models/${pvc.namespace}/${pvc.name}
  endpoint: https://minio.example.com
  auth: secret
  exclude: "original/**, *.pth"
  csi.storage.k8s.io/provisioner-secret-name: minio-reader
  csi.storage.k8s.io/provisioner-secret-namespace: csi-model
  csi.storage.k8s.io/node-stage-secret-name: minio-reader
  csi.storage.k8s.io/node-stage-secret-namespace: csi-model
reclaimPolicy: Delete
```

A claim of it. The capacity is the larger of the request and the model's size:

```yaml
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: qwen3-8b
  namespace: chat
spec:
  storageClassName: team-models
  accessModes: [ReadOnlyMany]
  resources:
    requests:
      storage: 1Gi
```

One class for all the teams: each claim names its model in an annotation, among those that the administrator allows, and
it is brought to two GPU nodes before any pod asks for it:

```yaml
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: models
provisioner: csi-model.io
parameters:
  source: ${pvc.annotations['csi-model.io/source']}
  allowedSources: "s3://models/**, s3://teams/${pvc.namespace}/**"
  auth: ambient
  warmReplicas: "2"
  warmNodeSelector: "example.com/gpu=h100"
reclaimPolicy: Delete
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: llama-3-70b
  namespace: chat
  annotations:
    csi-model.io/source: s3://models/llama-3-70b
spec:
  storageClassName: models
  accessModes: [ReadOnlyMany]
  resources:
    requests:
      storage: 1Gi
```

A busy day: on all GPU nodes, and kept there. With this class, `kubectl patch pvc llama-3-70b -n chat --type merge -p
'{"spec": {"volumeAttributesClassName": "everywhere"}}'` does it; a class with other values undoes it:

```yaml
apiVersion: storage.k8s.io/v1
kind: VolumeAttributesClass
metadata:
  name: everywhere
driverName: csi-model.io
parameters:
  warmReplicas: all
  pin: "true"
```
"""
