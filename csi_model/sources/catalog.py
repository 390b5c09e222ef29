"""Which sources there are, by scheme. A new one gets a function here and nothing else knows it."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from csi_model.core.reference import Reference
from csi_model.core.volume import VolumeSpec
from csi_model.errors import InvalidArgument
from csi_model.sources.base import Access, Source

if TYPE_CHECKING:
    from csi_model.sources.workers import Workers

log = logging.getLogger(__name__)


def _s3(reference: Reference, access: Access, workers: "Workers | None") -> Source:
    # botocore takes most of a second to import, and the daemon answers its first probe before that.
    from csi_model.sources.s3 import S3Source  # noqa: PLC0415

    return S3Source(reference, access, workers=workers)


SCHEMES: dict[str, Callable[[Reference, Access, "Workers | None"], Source]] = {"s3": _s3}


def preload() -> None:
    """Import and read what sources need, so that the first volume needn't wait for it; whatever fails is logged.

    For a thread of its own, once the daemon answers: it takes half a second of processor time, more from a cold disk.
    """
    try:
        from csi_model.sources.http_connection import HttpLimits  # noqa: PLC0415
        from csi_model.sources.s3_client import make_service  # noqa: PLC0415 - as above

        # The first client reads the service's model, which the later ones share.
        make_service(Access(endpoint="http://localhost", auth="anonymous"), "preload", HttpLimits())
    except Exception as error:  # noqa: BLE001 - the first real use fails of the same, and tells who asked for it
        log.info("can't load the S3 source ahead: %s", error)


def open_source(
    spec: VolumeSpec, secrets: Mapping[str, str], ca_bundle: Path | None = None, workers: "Workers | None" = None
) -> Source:
    """Open the source that a volume names; makes no request.

    Args:
        spec: what the volume was asked to be.
        secrets: the CSI secrets of the call; used only if the spec's ``auth`` says so.
        ca_bundle: file with the certificates of authorities to trust instead of the system's.
        workers: processes that may read over TLS in this one's place.

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
    return make(spec.source, access, workers)
