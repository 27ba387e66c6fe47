"""What a caller wants of the engines' caches: nothing kept of a prompt, or kept only for who says the same salt.

A caller's salt ends here. What travels is an HMAC of it under a secret of this gateway, so that model nodes can neither read
it nor find the same tenant behind another gateway. Implements `docs/gateway.md` section 7.
"""

import hmac
from collections.abc import Mapping
from dataclasses import replace

from network.crypto import derive
from network.gateway.api_error import ApiError
from network.gateway.openai_fields import invalid
from network.gateway.openai_request import Asked

NO_SHARE_HEADER = "x-planetserve-no-share"
SALT_HEADER = "x-planetserve-cache-salt"
MAX_SALT = 256
SALT_LENGTH = 16
_DOMAIN = b"planetserve/cache-salt/1"


class Caching:
    """Reads the wish of one request. `secret` is the gateway's own: the same after a restart, other at each gateway."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = derive(secret, salt=b"", info=_DOMAIN, length=32)

    def applied(self, asked: Asked, headers: Mapping[str, str]) -> Asked:
        """The request with what its headers and its `cache_salt` wish for. Raises ApiError."""
        no_share = _flag(headers.get(NO_SHARE_HEADER))
        salt = self._salt(asked.cache_salt, headers.get(SALT_HEADER))
        if not no_share and not salt:
            return asked
        wished = replace(asked.inference, no_share=int(no_share), cache_salt=b"" if no_share else salt)
        # Nothing is cached of what is not shared, so nothing is remembered of it here either: each enters anywhere.
        return replace(asked, inference=wished, pieces=() if no_share else asked.pieces)

    def _salt(self, in_body: str, in_header: str | None) -> bytes:
        if in_body and in_header and in_body != in_header:
            raise invalid("cache_salt", f"and the header {SALT_HEADER} say two salts; say one")
        said = (in_body or in_header or "").encode("utf-8", "surrogateescape")
        if len(said) > MAX_SALT:
            raise invalid("cache_salt", f"has {len(said)} bytes, at most {MAX_SALT}")
        return hmac.digest(self._secret, said, "sha256")[:SALT_LENGTH] if said else b""


def _flag(value: str | None) -> bool:
    if value not in (None, "0", "1"):
        raise ApiError("invalid_request", f"{NO_SHARE_HEADER} must be 1, or 0", param=NO_SHARE_HEADER)
    return value == "1"
