"""The tokens of ListVolumes: where a page ends, in a spelling that nobody else's token has."""

import base64
import binascii

from csi_model.errors import InvalidToken

_TOKEN = "v1."  # noqa: S105 - a page's token is no secret


def token_of(volume_id: str) -> str:
    """Return the token of a page that ends with this volume."""
    return _TOKEN + base64.urlsafe_b64encode(volume_id.encode(errors="surrogatepass")).decode()


def id_of(token: str) -> str:
    """Return the id that a token stands for; "" for the beginning.

    Raises:
        InvalidToken: the token is not one of ours.

    """
    if not token:
        return ""
    try:
        volume_id = base64.urlsafe_b64decode(token.removeprefix(_TOKEN)).decode(errors="surrogatepass")
    except (binascii.Error, ValueError):
        volume_id = ""
    if not volume_id or token_of(volume_id) != token:  # base64 has several spellings: ours is the one
        raise InvalidToken(f"the token {token[:80]!r} is not one of this driver's: begin the list anew")
    return volume_id
