"""Reference: what a user writes to name a model, e.g. ``s3://models/qwen3-8b``."""

import re
from dataclasses import dataclass

from csi_model.errors import InvalidArgument

_FORM = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<location>[^/\s]+)(?:/(?P<path>.*))?\Z", re.DOTALL)
_MAX_BYTES = 1024 + 128  # an S3 key has at most 1,024 bytes, a bucket 63
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


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
            InvalidArgument: it has no scheme, no location, control characters, dot segments, or is too long.

        """
        match = _FORM.match(text)
        if match is None:
            raise InvalidArgument(field, f"{text[:200]!r} is not of the form scheme://location/path, e.g. s3://bucket/prefix")
        if _CONTROL.search(text) or len(text.encode(errors="replace")) > _MAX_BYTES:
            raise InvalidArgument(field, f"has control characters or more than {_MAX_BYTES} bytes")
        path = (match["path"] or "").strip("/")
        if any(segment in ("", ".", "..") for segment in path.split("/")) and path:
            raise InvalidArgument(field, f"{text!r} has empty or dot segments in its path")
        return cls(match["scheme"], match["location"], path)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.location}" + (f"/{self.path}" if self.path else "")
