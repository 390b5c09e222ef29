"""GET URLs of a bucket's objects, signed (AWS Signature Version 4, in the query).

botocore takes 0.19 ms for one, and a model can have thousands of files. So botocore makes the first; what is learnt
from that one makes the others in 0.02 ms. If the first can't be made in this way byte for byte (another kind of
signature, another parameter), botocore makes all of them.
"""

import hashlib
import hmac
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from csi_model.sources.http_server import Server

_ALGORITHM = "AWS4-HMAC-SHA256"
_STAMP = "%Y%m%dT%H%M%SZ"
_PROBE = "probe"  # a key that needs no object
_SAFE = "/~"


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a bucket's URLs have in common.

    Attributes:
        base: the URL up to the key.
        path: of it.
        host: as it is signed.
        region, service: for which signatures are valid; "" if nothing is signed.
        secrets: what signed last, by secret key and scope.

    """

    base: str
    path: str
    host: str
    region: str
    service: str
    secrets: dict[tuple[str, str], bytes] = field(default_factory=dict, repr=False)

    def sign(self, key: str, version: str, keys: Any, *, now: datetime, valid: int) -> str:
        """Return the URL of an object.

        Args:
            key: of the object.
            version: its id, or "" for the newest.
            keys: botocore's frozen credentials; None signs nothing.
            now: from when on it is valid.
            valid: seconds.

        """
        place = quote(key, safe=_SAFE)
        pinned = f"versionId={quote(version, safe='~')}" if version else ""
        if keys is None:
            return f"{self.base}{place}" + (pinned and f"?{pinned}")
        stamp = now.strftime(_STAMP)
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        session = f"X-Amz-Security-Token={quote(keys.token, safe='~')}&" if keys.token else ""
        query = (  # by name, as is signed
            f"X-Amz-Algorithm={_ALGORITHM}&X-Amz-Credential={quote(f'{keys.access_key}/{scope}', safe='~')}&"
            f"X-Amz-Date={stamp}&X-Amz-Expires={valid}&{session}X-Amz-SignedHeaders=host" + (pinned and f"&{pinned}")
        )
        asked = f"GET\n{self.path}{place}\n{query}\nhost:{self.host}\n\nhost\nUNSIGNED-PAYLOAD"
        signed = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
        signature = hmac.digest(self._secret(keys.secret_key, scope), signed.encode(), "sha256").hex()
        return f"{self.base}{place}?{query}&X-Amz-Signature={signature}"

    def _secret(self, key: str, scope: str) -> bytes:
        """Return what signs within a scope: the same all day."""
        found = self.secrets.get((key, scope))
        if found is None:
            found = f"AWS4{key}".encode()
            for word in scope.split("/"):
                found = hmac.digest(found, word.encode(), "sha256")
            self.secrets.clear()  # the one before is over
            self.secrets[key, scope] = found
        return found


class Signer:
    """Makes URLs. Safe to use from several threads.

    Args:
        client: botocore's, for the bucket's service.
        bucket: its name.
        credentials: botocore's, with which the client signs; None signs nothing.
        valid: seconds that a URL is good for.

    """

    def __init__(self, client: Any, bucket: str, credentials: Any, valid: int) -> None:
        self._client = client
        self._bucket = bucket
        self._credentials = credentials
        self._valid = valid
        self._lock = threading.Lock()
        self._learnt = False
        self._pattern: Pattern | None = None

    def url(self, key: str, version: str = "") -> str:
        """Return a fresh URL of an object, or of one of its versions; raises as botocore does."""
        with self._lock:
            if not self._learnt:
                self._pattern = self._learn()
                self._learnt = True
        if self._pattern is None:
            return self._ask(key, version)
        return self._pattern.sign(key, version, self._keys(), now=datetime.now(UTC), valid=self._valid)

    def _keys(self) -> Any:
        return self._credentials and self._credentials.get_frozen_credentials()

    def _ask(self, key: str, version: str = "") -> str:
        params = {"Bucket": self._bucket, "Key": key, **({"VersionId": version} if version else {})}
        return str(self._client.generate_presigned_url("get_object", Params=params, ExpiresIn=self._valid))

    def _learn(self) -> Pattern | None:
        """Look at a URL of botocore's; None if we can't make the same."""
        example = self._ask(_PROBE)
        base, found, query = example.partition("?")
        fields = dict(parse_qsl(query))
        pattern = _pattern_of(base.removesuffix(_PROBE), fields)
        if not found:
            return pattern if self._credentials is None else None
        try:
            now = datetime.strptime(fields["X-Amz-Date"], _STAMP).replace(tzinfo=UTC)
        except (KeyError, ValueError):
            return None
        ours = pattern.sign(_PROBE, "", self._keys(), now=now, valid=self._valid)
        same = ours.partition("?")[0] == base and dict(parse_qsl(urlsplit(ours).query)) == fields
        return pattern if same else None


def _pattern_of(base: str, fields: Mapping[str, str]) -> Pattern:
    scope = fields.get("X-Amz-Credential", "").split("/")[-4:]
    region, service = scope[1:3] if len(scope) == 4 else ("", "")  # noqa: PLR2004 - day, region, service, suffix
    return Pattern(base, urlsplit(base).path, Server.of(base).authority, region, service)
