"""The parameters of a model volume: names, forms and defaults, in one table.

The same names are used in a StorageClass's ``parameters`` and in the volume_context. ``docs/parameters.md`` is
rendered from the table.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from csi_model.core.globs import check_glob
from csi_model.errors import InvalidArgument

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_MAX_GLOBS = 64


class Auth(StrEnum):
    """Whose rights read the source; never a fall-back from one to another."""

    SECRET = "secret"  # the CSI secrets of the call
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
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{value[:200]!r} is not an http:// or https:// URL of a host")
    if parts.username or parts.password:
        raise ValueError("holds credentials: put them into a Secret, endpoint is not a secret place")
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
        "The model. `${pvc.name}`, `${pvc.namespace}` and `${pv.name}` are replaced by the claim's.", _text,
    ),
    "endpoint": Field("URL", "the cloud's own", "Where the object store answers, e.g. `https://minio.example.com`.", _url),
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
        "globs", "all files", "Only files that match one of them, e.g. `*.safetensors, *.json`.", _globs, ",".join,
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
            parsed[name] = FIELDS[name].read(text)
        except ValueError as error:
            raise InvalidArgument(f"{where}.{name}", str(error)) from error
    return parsed


def render_fields(values: Mapping[str, Any]) -> dict[str, str]:
    """Render values back into texts; :func:`parse_fields` of the result gives the same values."""
    return {name: FIELDS[name].render(value) for name, value in values.items()}
