"""How an S3 service is reached and with whose rights: clients, never a fall-back from one kind of rights to another.

Only ``ambient`` looks at the process's environment, shared files or instance profile for credentials. No kind takes
its endpoint from there: the Origin, which keeps tenants' bytes apart, names the endpoint of the volume and no other.
"""

import os
import re
import ssl
import threading
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.session import Session

from csi_model.errors import InvalidArgument, SourceUnauthenticated
from csi_model.sources.base import Access
from csi_model.sources.http_connection import HttpLimits
from csi_model.sources.http_server import Server

HEADS = 16
"""HEAD requests in parallel: enough to hide a round trip of 50 ms, few enough that no service asks to slow down."""
DEFAULT_REGION = "us-east-1"
_ATTEMPTS = 3  # of one listing or HEAD; the whole call is repeated by its caller anyway
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}\Z")
_COMMERCIAL = re.compile(r"(us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-\d+\Z")
_AWS_HOST = re.compile(r"s3(?:-fips)?(?:\.dualstack)?[.-](?P<region>[a-z0-9-]+)\.amazonaws\.com\Z")
_ISOLATED = {  # of botocore's session variables: (name in the config file, environment variable, value, conversion)
    "profile": (None, None, None, None),
    "region": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "ca_bundle": (None, None, None, None),
}
_SECRETS_HINT = (
    "auth is 'secret', so the CSI secrets want {missing}: put accessKeyId and secretAccessKey into a Secret and name "
    "it in the StorageClass (csi.storage.k8s.io/provisioner-secret-name and node-stage-secret-name), as "
    "nodeStageSecretRef of a PersistentVolume or nodePublishSecretRef of a pod's own volume, or set auth to ambient or "
    "anonymous"
)
_session_lock = threading.Lock()  # botocore's sessions and loaders may be used by one thread at a time


def check_bucket(bucket: str) -> None:
    """Refuse what can't be the name of a bucket.

    Raises:
        InvalidArgument: naming ``parameters.source``.

    """
    if not _BUCKET.match(bucket):
        raise InvalidArgument("parameters.source", f"{bucket[:80]!r} is not the name of a bucket")


def origin_of(endpoint: str, region: str, bucket: str) -> str:
    """Give the Origin's text: equal for equal places, whatever the spelling.

    Bucket names are unique within all of AWS's commercial regions, so those share one text. An endpoint of theirs
    over plain HTTP doesn't: who sits in between could put other bytes under the same name.
    """
    if not endpoint:
        return f"s3:aws/{bucket}" if _COMMERCIAL.match(region or DEFAULT_REGION) else f"s3:aws:{region}/{bucket}"
    server = Server.of(endpoint)
    server = Server(server.scheme, server.host.lower().rstrip("."), server.port)
    aws = _AWS_HOST.match(server.host)
    if aws and str(server) == f"https://{server.host}" and _COMMERCIAL.match(aws["region"]):
        return f"s3:aws/{bucket}"
    return f"s3:{server}/{bucket}"


class Service(NamedTuple):
    """How a service is asked: botocore's client, and botocore's credentials with which it signs (None: it doesn't)."""

    client: Any
    credentials: Credentials | None


def make_service(access: Access, bucket: str, limits: HttpLimits) -> Service:
    """Make a botocore S3 client; makes no request, except that ``ambient`` looks for its credentials.

    Raises:
        SourceUnauthenticated: the secrets lack a key, or the driver has no credentials of its own.
        InvalidArgument: the endpoint is malformed.

    """
    credentials: Credentials | None = None
    signature: Any = "s3v4"
    variables: dict[str, Any] | None = _ISOLATED
    if access.auth == "secret":
        credentials = _explicit(access)
    elif access.auth == "anonymous":
        signature = UNSIGNED
    else:
        variables = None
    with _session_lock:
        session = Session(session_vars=variables)
        session.register_component("data_loader", _loader())
    if access.auth not in ("secret", "anonymous"):
        # Outside the lock: this may ask a metadata service that doesn't answer, and other volumes don't care.
        credentials = session.get_credentials()
        if credentials is None:
            raise SourceUnauthenticated(
                "auth is 'ambient', but the driver has no credentials of its own: give its service account a role, or "
                "set auth to secret"
            )
    with _session_lock:
        try:
            client = session.create_client(
                "s3",
                region_name=access.region or DEFAULT_REGION,
                endpoint_url=access.endpoint or None,
                verify=_authorities(access.ca_bundle),
                config=_config(access, bucket, signature, limits),
                **_named(credentials if access.auth == "secret" else None),
            )
        except ValueError as error:  # all that botocore says of a malformed endpoint
            raise InvalidArgument("parameters.endpoint", f"{access.endpoint[:200]!r} is not usable: {error}") from error
    return Service(client, credentials)


def _config(access: Access, bucket: str, signature: Any, limits: HttpLimits) -> Config:
    addressing = access.addressing
    if addressing == "auto":
        # a bucket with dots has no host name that a wildcard certificate covers
        addressing = "path" if access.endpoint or "." in bucket else "virtual"
    return Config(
        signature_version=signature,
        s3={"addressing_style": addressing},
        connect_timeout=limits.connect,
        read_timeout=limits.silence,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=HEADS,
        ignore_configured_endpoint_urls=True,
        defaults_mode="legacy",  # "auto" would ask the instance's metadata service
    )


def _named(credentials: Credentials | None) -> dict[str, str | None]:
    """Return credentials as arguments of a client; none of them: it has the session's."""
    if credentials is None:
        return {}
    return {
        "aws_access_key_id": credentials.access_key,
        "aws_secret_access_key": credentials.secret_key,
        "aws_session_token": credentials.token,
    }


def _explicit(access: Access) -> Credentials:
    # A Secret made with `echo` ends in a new line, which no key does.
    secrets = {key: access.secrets.get(key, "").strip() for key in ("accessKeyId", "secretAccessKey", "sessionToken")}
    missing = [key for key in ("accessKeyId", "secretAccessKey") if not secrets[key]]
    if missing:
        raise SourceUnauthenticated(_SECRETS_HINT.format(missing=" and ".join(missing)))
    for key, value in secrets.items():
        if not (value.isascii() and value.isprintable()):
            raise SourceUnauthenticated(f"the CSI secret {key} has characters that no key has: was it encoded twice?")
    return Credentials(secrets["accessKeyId"], secrets["secretAccessKey"], secrets["sessionToken"] or None)


def _authorities(ca_bundle: Path | None) -> str | bool:
    """Trust what the range reads trust; botocore's own list only where the system has none in one file."""
    return str(ca_bundle) if ca_bundle else ssl.get_default_verify_paths().cafile or True


@cache
def _loader() -> Loader:
    """Share the parsed service models: reading them again takes a quarter of a second per client."""
    return Loader()


def shown_place(access: Access, bucket: str, path: str = "") -> str:
    """Name a place for people: the reference, and where it was looked for if that isn't the cloud's own."""
    reference = f"s3://{bucket}" + (f"/{path}" if path else "")
    return f"{reference} at {urlsplit(access.endpoint).netloc}" if access.endpoint else reference
