"""The parameters of a model volume: names, forms and defaults, in one table.

The same names are used in a StorageClass's ``parameters`` and in the volume_context. ``docs/parameters.md`` is
rendered from the table.
"""

import difflib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from csi_model.core.globs import check_glob
from csi_model.errors import InvalidArgument

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_VISIBLE = re.compile(r"[!-~]+\Z")
_MAX_GLOBS = 64


class Auth(StrEnum):
    """Whose rights read the source; never a fall-back from one to another."""

    SECRET = "secret"  # noqa: S105 - the CSI secrets of the call
    AMBIENT = "ambient"  # the driver's own role
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter: how it is written, what it means, how it is read and rendered."""

    form: str
    default: str
    meaning: str
    read: Callable[[str], Any]
    render: Callable[[Any], str] = str


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value.strip()


def _url(value: str) -> str:
    # Nothing is repeated in an error before it is sure that neither a password nor a signature is in it.
    if "@" in value or "?" in value or "#" in value:
        raise ValueError("has an '@', '?' or '#': it takes a plain URL, credentials belong into a Secret")
    if not _VISIBLE.match(value):  # urlsplit quietly drops some control characters
        raise ValueError("has white space or characters that don't belong in a URL")
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{value[:200]!r} is not an http:// or https:// URL of a host")
    if parts.path not in ("", "/"):
        raise ValueError(f"{value[:200]!r} has a path: the bucket belongs into source")
    _ = parts.port  # raises ValueError when it is no number
    return value.rstrip("/")


def _region(value: str) -> str:
    if not _REGION.match(value):
        raise ValueError(f"{value[:80]!r} is not a region name, e.g. eu-central-1")
    return value


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"is {value[:80]!r}, allowed are {', '.join(allowed)}")
        return value

    return read


def _auth(value: str) -> Auth:
    return Auth(_one_of(*Auth)(value))


def _boolean(value: str) -> bool:
    return _one_of("true", "false")(value) == "true"


def _globs(value: str) -> tuple[str, ...]:
    globs = tuple(part.strip() for part in re.split(r"[,\n]", value) if part.strip())
    if not globs or len(globs) > _MAX_GLOBS:
        raise ValueError(f"wants 1 to {_MAX_GLOBS} globs, separated by commas or new lines")
    for glob in globs:
        check_glob(glob)
    return globs


FIELDS: dict[str, Field] = {
    "source": Field(
        "`s3://bucket/prefix`", "(required)",
        "The model. `${pvc.name}`, `${pvc.namespace}` and `${pv.name}` are replaced by the claim's; this needs "
        "external-provisioner's `--extra-create-metadata`.", _text,
    ),
    "endpoint": Field(
        "URL", "the cloud's own", "Where the object store answers, e.g. `https://minio.example.com`.", _url,
    ),
    "region": Field("name", "`us-east-1`", "The bucket's region.", _region),
    "addressing": Field(
        "`auto`, `path`, `virtual`", "`auto`",
        "Whether the bucket's name goes into the path or the host name. `auto`: path when an endpoint is given.",
        _one_of("auto", "path", "virtual"),
    ),
    "auth": Field(
        "`secret`, `ambient`, `anonymous`", "`secret`",
        "Whose rights read the source: the Secret of the class or claim, the driver's own role, or nobody's.",
        _auth,
    ),
    "include": Field(
        "globs", "all files",
        "Only files that match one of them, e.g. `*.safetensors, *.json`. Separated by commas or new lines.",
        _globs, ",".join,
    ),
    "exclude": Field("globs", "none", "Not the files that match one of them, e.g. `original/**`.", _globs, ",".join),
    "pin": Field(
        "`true`, `false`", "`false`", "Keep the copy when nothing uses it, until nothing else is left to evict.",
        _boolean, lambda pinned: str(pinned).lower(),
    ),
}  # fmt: skip


def parse_fields(values: Mapping[str, str], *, where: str = "parameters") -> dict[str, Any]:
    """Read parameters by the table.

    Args:
        values: names and texts.
        where: what to call the map in errors.

    Raises:
        InvalidArgument: a name is unknown, ``source`` is missing, or a value is malformed.

    """
    for name in values:
        if name not in FIELDS:
            near = difflib.get_close_matches(name.lower(), FIELDS, n=1, cutoff=0.5)
            hint = f" did you mean {near[0]!r}?" if near else ""
            raise InvalidArgument(f"{where}.{name[:80]}", f"is unknown:{hint} allowed are {', '.join(FIELDS)}")
    if "source" not in values:
        raise InvalidArgument(f"{where}.source", "is missing: name the model, e.g. s3://bucket/prefix")
    parsed = {}
    for name, text in values.items():
        try:
            text.encode()  # a lone surrogate is a ValueError as well
            parsed[name] = FIELDS[name].read(text)
        except ValueError as error:
            raise InvalidArgument(f"{where}.{name}", str(error)) from error
    return parsed


def render_fields(values: Mapping[str, Any]) -> dict[str, str]:
    """Render values back into texts; :func:`parse_fields` of the result gives the same values."""
    return {name: FIELDS[name].render(value) for name, value in values.items()}


_HEAD = """\
# Parameters of a model volume

<!-- Rendered from csi_model/core/fields.py: `python -m csi_model.core.fields > docs/parameters.md` -->

They stand in a StorageClass's `parameters`. A name that isn't in this table, or a value of another form, is refused
with INVALID_ARGUMENT before anything is asked of the source.

| Parameter | Form | Default | Meaning |
|---|---|---|---|
"""
_TAIL = """
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
  the driver's setting `ambient_allow` covers the reference: otherwise whoever can make a claim could read all that
  the driver can. In that setting `s3://models/*` covers `s3://models/qwen3-8b` and not `s3://models/a/b`;
  `s3://models/**` covers both.
- `auth: anonymous`: requests aren't signed.

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
"""


def render() -> str:
    """Render the table for docs/parameters.md."""
    rows = (f"| `{name}` | {f.form} | {f.default} | {f.meaning} |\n" for name, f in FIELDS.items())
    return _HEAD + "".join(rows) + _TAIL


if __name__ == "__main__":
    sys.stdout.write(render())
