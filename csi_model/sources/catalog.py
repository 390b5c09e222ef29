"""Which sources there are, by scheme. A new one gets a function here and nothing else knows it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from csi_model.core.reference import Reference
from csi_model.core.volume import VolumeSpec
from csi_model.errors import InvalidArgument
from csi_model.sources.base import Access, Source


def _s3(reference: Reference, access: Access) -> Source:
    # botocore takes most of a second to import, and the daemon answers its first probe before that.
    from csi_model.sources.s3 import S3Source  # noqa: PLC0415

    return S3Source(reference, access)


SCHEMES: dict[str, Callable[[Reference, Access], Source]] = {"s3": _s3}


def open_source(spec: VolumeSpec, secrets: Mapping[str, str], ca_bundle: Path | None = None) -> Source:
    """Open the source that a volume names; makes no request.

    Args:
        spec: what the volume was asked to be.
        secrets: the CSI secrets of the call; used only if the spec's ``auth`` says so.
        ca_bundle: file with the certificates of authorities to trust instead of the system's.

    Raises:
        InvalidArgument: there is no source for the scheme, or the reference makes no sense to it.

    """
    make = SCHEMES.get(spec.source.scheme)
    if make is None:
        known = ", ".join(f"{scheme}://" for scheme in sorted(SCHEMES))
        raise InvalidArgument("parameters.source", f"begins with {spec.source.scheme[:40]}://, known are {known}")
    access = Access(
        endpoint=spec.endpoint,
        region=spec.region,
        addressing=spec.addressing,
        auth=str(spec.auth),
        secrets=secrets if spec.auth == "secret" else {},
        ca_bundle=ca_bundle,
    )
    return make(spec.source, access)
