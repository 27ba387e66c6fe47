"""The local API keys of a gateway: who on its network may use it. Nothing here leaves the gateway's machine.

The file holds hashes, so whoever reads it cannot ask: one line per key, `NAME SHA-256`, `#` begins a comment. Keys are made by
`planetserve keys api`, 32 random bytes each, which is why one pass of SHA-256 is enough. Implements `docs/gateway.md`
section 6.
"""

import re
from collections.abc import Callable
from hmac import compare_digest

from network.crypto import sha256
from network.errors import ConfigError

PREFIX = "ps-"
SECRET_LENGTH = 32
_DOMAIN = b"planetserve/api-key/1"
_LINE = re.compile(r"(?P<name>\S{1,64})\s+(?P<digest>[0-9a-f]{64})")


class ApiKeys:
    """The keys of one gateway. `admits` takes as long for a wrong key as for a right one."""

    __slots__ = ("_digests",)

    def __init__(self, digests: tuple[bytes, ...]) -> None:
        self._digests = digests

    def admits(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries one of the keys."""
        scheme, _, key = (authorization or "").partition(" ")
        given = digest(key.strip())
        known = 0
        for held in self._digests:
            known |= compare_digest(held, given)
        return bool(known) and scheme.lower() == "bearer"


def parse_keys(text: str, what: str) -> ApiKeys:
    """The keys of a file's text. Raises ConfigError naming `what` and the line, never its content."""
    digests: list[bytes] = []
    names: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        row = line.partition("#")[0].strip()
        if not row:
            continue
        found = _LINE.fullmatch(row)
        if found is None:
            raise ConfigError(
                f"{what}, line {number}: is not NAME and 64 hexadecimal digits; make keys by planetserve keys api"
            )
        if found["name"] in names:
            raise ConfigError(f"{what}, line {number}: the name {found['name']} stands there twice")
        names.add(found["name"])
        digests.append(bytes.fromhex(found["digest"]))
    if not digests:
        raise ConfigError(f"{what} holds no key; make one by: planetserve keys api FILE NAME")
    return ApiKeys(tuple(digests))


def new_key(name: str, rng: Callable[[int], bytes]) -> tuple[str, str]:
    """(the key, its line for the file). The key is nowhere but in the caller's hands."""
    if not re.fullmatch(r"[^\s#]{1,64}", name):
        raise ConfigError("a key's name is 1 to 64 characters without spaces or #")
    key = PREFIX + rng(SECRET_LENGTH).hex()
    return key, f"{name} {digest(key).hex()}"


def digest(key: str) -> bytes:
    """What the file keeps of a key."""
    return sha256(_DOMAIN, key.encode("utf-8", "surrogateescape"))
