"""Signature Version 4, the server's side: who signed a request, whether rightly, and not too long ago.

Written after the public description "Authenticating Requests: Using the Authorization Header / Query Parameters (AWS
Signature Version 4)". The body's own hash is taken as the client states it.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from csi_model.demo.s3server_objects import S3Failure

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} +Credential=(?P<scope>[^, ]+),? *SignedHeaders=(?P<names>[^, ]+),? *Signature=(?P<given>\w+)\Z"
)
_SKEW = 15 * 60  # seconds that a client's clock may differ
_LONGEST = 7 * 24 * 3600  # seconds that a signed URL may be valid


@dataclass(frozen=True, slots=True)
class Key:
    """A secret access key, and the session token that must come with it, if any."""

    secret: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it came: the path still encoded, the query split but not decoded, headers by lower-case name."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]

    def argument(self, name: str) -> str:
        """Give a decoded query argument, or nothing."""
        return next((unquote(value) for key, value in self.query if key == name), "")


def split_query(text: str) -> tuple[tuple[str, str], ...]:
    """Split a query without decoding it."""
    pairs = (item.partition("=") for item in text.split("&") if item)
    return tuple((name, value) for name, _, value in pairs)


def is_signed(request: Signed) -> bool:
    """Tell whether a request bears a signature at all."""
    return "authorization" in request.headers or bool(request.argument("X-Amz-Signature"))


def verify(request: Signed, keys: Mapping[str, Key], now: float) -> None:
    """Check a signed request.

    Raises:
        S3Failure: as S3 would answer.

    """
    if "authorization" in request.headers:
        match = _AUTHORIZATION.match(request.headers["authorization"])
        if match is None:
            raise S3Failure(400, "AuthorizationHeaderMalformed", "The authorization header is malformed.")
        scope, names, given = match["scope"], match["names"], match["given"]
        date, token = request.headers.get("x-amz-date", ""), request.headers.get("x-amz-security-token", "")
        payload = request.headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        if abs(_seconds(date) - now) > _SKEW:
            raise S3Failure(403, "RequestTimeTooSkewed", "The request's time and the server's differ too much.")
    else:
        scope, names = request.argument("X-Amz-Credential"), request.argument("X-Amz-SignedHeaders")
        given, payload = request.argument("X-Amz-Signature"), "UNSIGNED-PAYLOAD"
        date, token = request.argument("X-Amz-Date"), request.argument("X-Amz-Security-Token")
        lifetime = request.argument("X-Amz-Expires")
        if not lifetime.isdecimal() or not 0 < int(lifetime) <= _LONGEST:
            raise S3Failure(400, "AuthorizationQueryParametersError", "X-Amz-Expires is out of range.")
        if now > _seconds(date) + int(lifetime):
            raise S3Failure(403, "AccessDenied", "Request has expired")
    access_key, _, place = scope.partition("/")
    key = keys.get(access_key)
    if key is None:
        raise S3Failure(403, "InvalidAccessKeyId", "The access key id does not exist in our records.")
    if not hmac.compare_digest(key.token.encode(), token.encode()):
        raise S3Failure(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
    right = _signature(request, key.secret, date=date, place=place, names=names, payload=payload)
    if not hmac.compare_digest(right.encode(), given.encode()):
        raise S3Failure(403, "SignatureDoesNotMatch", "The calculated signature does not match the provided one.")


def _signature(request: Signed, secret: str, *, date: str, place: str, names: str, payload: str) -> str:
    canonical = "\n".join([
        request.method,
        quote(unquote(request.path, errors="surrogateescape"), safe="/-_.~", errors="surrogateescape"),
        _canonical_query(request),
        *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names.split(";")),
        "",
        names,
        payload,
    ])  # fmt: skip
    text = "\n".join([_ALGORITHM, date, place, hashlib.sha256(canonical.encode(errors="surrogateescape")).hexdigest()])
    key = f"AWS4{secret}".encode()
    for step in place.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _canonical_query(request: Signed) -> str:
    def encoded(text: str) -> str:
        return quote(unquote(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape")

    pairs = [(encoded(name), encoded(value)) for name, value in request.query if name != "X-Amz-Signature"]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _seconds(date: str) -> float:
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise S3Failure(403, "AccessDenied", "The request's date is malformed.") from error
