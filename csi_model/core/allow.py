"""Allow-list: what people who aren't administrators may name as a source; nothing, unless an administrator says so.

Static PersistentVolumes and inline volumes carry their source in their own words. The driver would ask whatever
address they name, from inside the cluster's network, so both the place and the address have to be allowed.
"""

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from csi_model.core.globs import Selection, check_reference_glob
from csi_model.core.volume import VolumeSpec
from csi_model.errors import InvalidArgument

DEFAULT = "default"
"""What stands in a list of endpoints for the cloud's own: that of a volume that names none."""
_PLAIN = re.compile(r"https?://[a-z0-9._:\[\]-]+\Z")
_PATTERN = re.compile(r"https?://[a-z0-9._:*?\[\]-]+\Z")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Allowed:
    """Which sources may be named, and where they may answer; both have to be allowed.

    Attributes:
        sources: globs of whole references: ``s3://models/*`` covers ``s3://models/qwen3-8b`` and not
            ``s3://models/a/b``, ``s3://models/**`` covers both.
        endpoints: ``default`` for the cloud's own, or URLs, in whose host ``*`` and ``?`` match anything:
            ``https://minio.example.com:9000``, ``https://*.example.com``.

    Raises:
        InvalidArgument: a glob or an endpoint is malformed.

    """

    sources: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_sources(self.sources)
        for endpoint in self.endpoints:
            if endpoint != DEFAULT and not _PATTERN.match(endpoint.lower().rstrip("/")):
                raise InvalidArgument(
                    "the allow-list",
                    f"has the endpoint {endpoint[:80]!r}: want {DEFAULT!r} or a URL such as https://minio.example.com",
                )

    def check(self, spec: VolumeSpec, field: str) -> None:
        """Refuse what isn't allowed.

        Args:
            spec: what somebody wants to read.
            field: what the source is called where its author wrote it.

        Raises:
            InvalidArgument: the source or its endpoint isn't allowed; the text says what is.

        """
        if not covers(self.sources, spec):
            raise InvalidArgument(
                field, f"names {spec.source}, which isn't allowed here: {_said(self.sources, 'sources')}"
            )
        if not any(_answers(pattern, spec.endpoint) for pattern in self.endpoints):
            named = f"the endpoint {spec.endpoint}" if spec.endpoint else "no endpoint, so the cloud's own"
            raise InvalidArgument(
                field, f"names {named}, which isn't allowed here: {_said(self.endpoints, 'endpoints')}"
            )


def covers(globs: Sequence[str], spec: VolumeSpec) -> bool:
    """Tell whether one of the globs covers the spec's source; none of no globs does."""
    return bool(globs) and Selection(include=tuple(globs)).admits(str(spec.source))


def check_sources(globs: Iterable[str], what: str = "the allow-list") -> None:
    """Check an administrator's globs of references.

    Args:
        globs: of whole references.
        what: what the list is called where it was written.

    Raises:
        InvalidArgument: one of them is malformed.

    """
    for glob in globs:
        try:
            check_reference_glob(glob)
        except ValueError as error:
            raise InvalidArgument(what, str(error)) from error


def _answers(pattern: str, endpoint: str) -> bool:
    if pattern == DEFAULT or not endpoint:
        return pattern == DEFAULT and not endpoint
    plain = _plain(endpoint)
    return bool(_PLAIN.match(plain)) and fnmatch.fnmatchcase(plain, _plain(pattern).replace("[", "[[]"))


def _plain(url: str) -> str:
    """Return a URL in the one spelling that is compared: lower case, no slash at the end, no port that goes without."""
    plain = url.lower().rstrip("/")
    scheme = urlsplit(plain).scheme
    return plain.removesuffix(f":{_PORTS.get(scheme, 0)}")


def _said(allowed: tuple[str, ...], what: str) -> str:
    if not allowed:
        return f"the driver's administrator has allowed no {what} yet, ask for it"
    return f"the {what} that the driver's administrator has allowed are {', '.join(allowed)}"
