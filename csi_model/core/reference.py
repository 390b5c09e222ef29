"""Reference: what a user writes to name a model, e.g. ``s3://models/qwen3-8b``."""

import re
from dataclasses import dataclass

from csi_model.errors import InvalidArgument

_FORM = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<location>[^/\s]+)(?:/(?P<path>.*))?\Z", re.DOTALL)
_MAX_BYTES = 1024 + 128  # an S3 key has at most 1,024 bytes, a bucket 63
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CREDENTIALS = re.compile(r"//[^/]*:[^/]*@")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference; what it points to may change tomorrow.

    Attributes:
        scheme: which kind of source, e.g. ``s3``.
        location: the bucket, organisation or host.
        path: what comes after, without leading or trailing slash; may be empty.

    """

    scheme: str
    location: str
    path: str

    @classmethod
    def parse(cls, text: str, *, field: str = "source") -> "Reference":
        """Parse a reference.

        Args:
            text: e.g. ``s3://bucket/prefix``.
            field: the name to blame in errors.

        Raises:
            InvalidArgument: it has no scheme, no location, control characters, dot segments or credentials, ends in
                white space, is no Unicode, or is too long.

        """
        if _CREDENTIALS.search(text):
            raise InvalidArgument(field, "holds credentials: put them into a Secret, a reference is not a secret place")
        match = _FORM.match(text)
        if match is None:
            raise InvalidArgument(
                field, f"{text[:200]!r} is not of the form scheme://location/path, e.g. s3://bucket/prefix"
            )
        if _CONTROL.search(text) or not _fits(text):
            raise InvalidArgument(field, f"has control characters, is no Unicode or has more than {_MAX_BYTES} bytes")
        path = (match["path"] or "").removesuffix("/")
        if any(segment in ("", ".", "..") for segment in path.split("/")) and path:
            raise InvalidArgument(field, f"{text!r} has empty or dot segments in its path")
        if path != path.strip():
            raise InvalidArgument(field, f"{text!r} begins or ends its path with white space")
        return cls(match["scheme"], match["location"], path)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.location}" + (f"/{self.path}" if self.path else "")


def _fits(text: str) -> bool:
    try:
        return len(text.encode()) <= _MAX_BYTES
    except UnicodeEncodeError:
        return False
