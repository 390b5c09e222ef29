"""The wall where botocore's exceptions and S3's error codes become the driver's own errors."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree as ET

from botocore import exceptions as boto

from csi_model.errors import (
    InvalidArgument,
    SourceBusy,
    SourceDenied,
    SourceError,
    SourceInvalid,
    SourceNotFound,
    SourceUnauthenticated,
    SourceUnavailable,
)
from csi_model.sources.http_refusals import Refusal, clean, retry_after

_UNAUTHENTICATED = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidToken",
    "NotSignedUp",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
    "401",
}
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "AccountProblem",
    "403",
}
_BUSY = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "ServiceUnavailable",
    "429",
    "503",
}
_UNAVAILABLE = {
    "InternalError",
    "RequestTimeout",
    "OperationAborted",
    "500",
    "502",
    "504",
}
_ELSEWHERE = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "Redirect",
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "IllegalLocationConstraintException",
    "301",
    "302",
    "307",
}
_NO_BUCKET = {"NoSuchBucket", "InvalidBucketName"}
_NO_OBJECT = {"NoSuchKey", "NoSuchVersion", "404"}
_TABLE: tuple[tuple[set[str], type[SourceError], str], ...] = (
    (_UNAUTHENTICATED, SourceUnauthenticated, "refuses the credentials ({said}): are they, and the clocks, right?"),
    (_DENIED, SourceDenied, "may not be read with these credentials ({said}): allow s3:ListBucket and s3:GetObject"),
    (_NO_BUCKET, SourceNotFound, "is in no bucket that exists ({said}): are name, endpoint and region right?"),
    (_NO_OBJECT, SourceNotFound, "doesn't exist ({said})"),
    (_ELSEWHERE, SourceInvalid, "lies elsewhere ({said}): set {place}"),
    (_UNAVAILABLE, SourceUnavailable, "fails ({said})"),
)  # fmt: skip
_REGION = re.compile(r"[a-z0-9-]{1,63}\Z")
_CREDENTIALS = (
    boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError, boto.TokenRetrievalError,
    boto.SSOError, boto.ProfileNotFound, boto.ConfigNotFound, boto.ConfigParseError,
)  # fmt: skip
_NONSENSE = (boto.PaginationError, boto.IncompleteReadError)


@contextmanager
def s3_errors(what: str) -> Iterator[None]:
    """Raise the driver's errors instead of botocore's.

    Args:
        what: the place, as people know it.

    Raises:
        SourceError: one of its types, by what happened.
        InvalidArgument: botocore refuses a parameter before it asks anybody.

    """
    try:
        yield
    except boto.ClientError as error:
        raise _from_answer(error.response, what) from error
    except boto.ParamValidationError as error:
        raise InvalidArgument("parameters.source", f"{what} can't be asked for: {clean(str(error))}") from error
    except boto.BotoCoreError as error:
        raise _from_failure(error, what) from error


def explain(refusal: Refusal) -> SourceError | None:
    """Give the error for an answer to a range read, where S3's own code says more than the status."""
    try:
        root = ET.fromstring(refusal.body) if refusal.body.lstrip()[:1] == b"<" else None  # noqa: S314  (see below)
    except ET.ParseError:
        return None
    # At most 16 KiB come here, and expat itself bounds what entities may expand to.
    code = (root.findtext("Code") or "") if root is not None else ""
    if code not in _UNAUTHENTICATED | _BUSY | _UNAVAILABLE | _ELSEWHERE:
        return None  # the object is pinned, so that it is missing means that it changed: the status says so
    message = root.findtext("Message") or "" if root is not None else ""
    region = refusal.headers.get("x-amz-bucket-region") or (root.findtext("Region") if root is not None else "") or ""
    return of_code(code, message, refusal.what, region, refusal.headers.get("retry-after", ""))


def of_code(code: str, message: str, what: str, region: str = "", wait: str = "") -> SourceError:
    """Find the type and the words for one of S3's error codes (or the status, where an answer had no body)."""
    said = f"{clean(code)}: {clean(message)}" if message and message != code else clean(code)
    place = f"region to {region}" if _REGION.match(region) else "region and endpoint to where it really is"
    if code in _BUSY:
        return SourceBusy(f"{what} asks to slow down ({said})", retry_after(wait))
    for codes, kind, words in _TABLE:
        if code in codes:
            return kind(f"{what} {words.format(said=said, place=place)}")
    return SourceInvalid(f"{what} can't be read: the server answers {said}")


def _from_answer(response: Mapping[str, Any], what: str) -> SourceError:
    error, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    headers = metadata.get("HTTPHeaders", {})
    region = str(error.get("Region") or headers.get("x-amz-bucket-region") or "")
    code = str(error.get("Code", "")) or str(metadata.get("HTTPStatusCode", ""))
    known = _BUSY.union(*(codes for codes, _, _ in _TABLE))
    status = int(metadata.get("HTTPStatusCode", 0))
    if code not in known and status >= 500:  # noqa: PLR2004  (all of 5xx)
        return SourceUnavailable(f"{what} fails ({clean(code)}, HTTP {status})")
    return of_code(code, str(error.get("Message", "")), what, region, str(headers.get("retry-after", "")))


def _from_failure(error: boto.BotoCoreError, what: str) -> SourceError:
    said = clean(str(error))
    if isinstance(error, _CREDENTIALS):
        return SourceUnauthenticated(f"the driver's own credentials for {what} can't be had: {said}")
    if isinstance(error, boto.SSLError):
        hint = "is its authority in the driver's CA bundle?"
        return SourceUnavailable(f"{what} can't be reached by TLS: {said}: {hint}")
    if isinstance(error, _NONSENSE):
        return SourceInvalid(f"{what} gives an answer that makes no sense: {said}")
    return SourceUnavailable(f"{what} can't be reached: {said}")
