"""The parameters of a model volume: names, forms and defaults, in one table.

The same names are used in a StorageClass's ``parameters`` and in the volume_context. ``docs/parameters.md`` is
rendered from the table.
"""

import difflib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from csi_model.core.globs import check_glob, check_reference_glob
from csi_model.core.page import HEAD, TAIL
from csi_model.core.placement import Placement, read_replicas, read_selector, render_replicas, render_selector
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
    """One parameter: how it is written, what it means, how it is read and rendered.

    Attributes:
        form: how it is written, for people.
        default: likewise.
        meaning: likewise.
        read: makes the value of a text; raises ValueError with what is wrong.
        render: makes the text of a value.
        changeable: whether it may be changed while the volume lives.
        lasting: whether it is a property of the volume, and so goes into the volume_context.

    """

    form: str
    default: str
    meaning: str
    read: Callable[[str], Any]
    render: Callable[[Any], str] = str
    changeable: bool = False
    lasting: bool = True


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


def _placement(value: str) -> Placement:
    return Placement(_one_of(*Placement)(value))


def _globs_with(check: Callable[[str], None]) -> Callable[[str], tuple[str, ...]]:
    def read(value: str) -> tuple[str, ...]:
        globs = tuple(part.strip() for part in re.split(r"[,\n]", value) if part.strip())
        if not globs or len(globs) > _MAX_GLOBS:
            raise ValueError(f"wants 1 to {_MAX_GLOBS} globs, separated by commas or new lines")
        for glob in globs:
            check(glob)
        return globs

    return read


_globs = _globs_with(check_glob)


FIELDS: dict[str, Field] = {
    "source": Field(
        "`s3://bucket/prefix`", "(required)",
        "The model. `${pvc.name}`, `${pvc.namespace}`, `${pv.name}` and `${pvc.annotations['NAME']}` are replaced by "
        "the claim's own words, see below.", _text,
    ),
    "allowedSources": Field(
        "globs of references", "none",
        "What `source` may become, e.g. `s3://models/**`; needed where it uses an annotation. `${pvc.namespace}` and "
        "the like may be in them.", _globs_with(check_reference_glob), ",".join, lasting=False,
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
    "placement": Field(
        "`prefer`, `require`, `any`", "`prefer`",
        "Where pods go: rather to nodes where the model is staged, only to those, or anywhere: "
        "[which to use](placement.md).",
        _placement,
    ),
    "warmReplicas": Field(
        "number, `all`", "`0`",
        "On how many nodes the model shall be staged whether or not a pod uses it; `all` that `warmNodeSelector` "
        "matches.", read_replicas, render_replicas, changeable=True,
    ),
    "warmNodeSelector": Field(
        "`label=value, …`", "all nodes", "Which nodes count for `warmReplicas`: those with all these labels.",
        read_selector, render_selector, changeable=True,
    ),
    "pin": Field(
        "`true`, `false`", "`false`", "Keep the copy when nothing uses it, until nothing else is left to evict.",
        _boolean, lambda pinned: str(pinned).lower(), changeable=True,
    ),
}  # fmt: skip


CHANGEABLE = tuple(name for name, field in FIELDS.items() if field.changeable)
LASTING = tuple(name for name, field in FIELDS.items() if field.lasting)


def attribute_of(name: str) -> str:
    """Return what a parameter is called in Python."""
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def read_fields(values: Mapping[str, str], allowed: Sequence[str], *, where: str) -> dict[str, Any]:
    """Read parameters by the table.

    Args:
        values: names and texts.
        allowed: the names that may be there.
        where: what to call the map in errors.

    Returns:
        What is there, by :func:`attribute_of` the name.

    Raises:
        InvalidArgument: a name isn't allowed (the nearest one that is is suggested), or a value is malformed.

    """
    for name in values:
        if name not in allowed:
            near = difflib.get_close_matches(name.lower(), {a.lower(): a for a in allowed}, n=1, cutoff=0.5)
            hint = "".join(f" did you mean {a!r}?" for a in allowed if a.lower() in near)
            raise InvalidArgument(f"{where}.{name[:80]}", f"is unknown:{hint} allowed are {', '.join(allowed)}")
    parsed = {}
    for name, text in values.items():
        try:
            text.encode()  # a lone surrogate is a ValueError as well
            parsed[attribute_of(name)] = FIELDS[name].read(text)
        except ValueError as error:
            raise InvalidArgument(f"{where}.{name}", str(error)) from error
    return parsed


def parse_fields(values: Mapping[str, str], allowed: Sequence[str] = LASTING, *, where: str) -> dict[str, Any]:
    """Read all parameters of a volume, as :func:`read_fields` does.

    Raises:
        InvalidArgument: likewise, or ``source`` is missing.

    """
    parsed = read_fields(values, allowed, where=where)
    if "source" not in values:
        raise InvalidArgument(f"{where}.source", "is missing: name the model, e.g. s3://bucket/prefix")
    return parsed


def render_fields(values: Mapping[str, Any]) -> dict[str, str]:
    """Render values, by Python's names, back into texts; :func:`read_fields` of the result gives the same values."""
    return {name: FIELDS[name].render(values[attribute_of(name)]) for name in FIELDS if attribute_of(name) in values}


def render() -> str:
    """Render the table for docs/parameters.md."""
    rows = (
        f"| `{name}` | {f.form} | {f.default} | {f.meaning}{' (†)' if f.changeable else ''} |\n"
        for name, f in FIELDS.items()
    )
    return HEAD + "".join(rows) + TAIL


if __name__ == "__main__":
    sys.stdout.write(render())
