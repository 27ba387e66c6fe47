"""The layers of a circuit after set-up: symmetric only, one per hop and direction.

Forward, every hop is an AEAD: it checks the tag, decrypts, puts the next hop's tag in its place, shifts the slots and
appends a keyed filler that the user has foreseen, so that the next honest hop drops an altered cell and no hop learns its
position. Backward, every hop adds a stream layer; only the user can check the end-to-end tag. Counters are nonces: links are
ordered, so a replayed, reordered or lost cell fails. Ciphers are made on first use and keys replaced every so many cells.
Implements `docs/overlay.md` section 4, reasons in `docs/adr/0032-layers.md`, `0103-rekeying.md` and `0104-tag-behind.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from network.crypto import NONCE_LENGTH, derive
from network.errors import CryptoError
from network.geometry import GEOMETRY, KEY, TAG
from network.terms import TERMS, Terms

_REKEY_LABEL = b"planetserve/rekey/1"
_ZERO_TAG = bytes(TAG)
_INNER_TAGS = GEOMETRY.tags - TAG
_ZERO_SLOTS = bytes(_INNER_TAGS)


class KeysSpent(CryptoError):
    """A circuit has carried as many cells as its keys may."""


@dataclass(frozen=True, slots=True)
class HopKeys:
    """What the user and one hop share after set-up. Never shown, never logged."""

    forward: bytes
    backward: bytes
    filler: bytes
    end_to_end: bytes

    LENGTH = 4 * KEY

    def __repr__(self) -> str:
        return "HopKeys(...)"


def keystream(key: bytes) -> CipherContext:
    """An AES-256-CTR stream that starts at zero; sound because every key has one stream."""
    return Cipher(AES(key), CTR(bytes(16))).encryptor()


class _Direction:
    """One hop's AEAD and stream in one direction. `count` never goes back, so no nonce repeats, under whichever key."""

    __slots__ = ("_aead_key", "_stream_key", "_terms", "aead", "count", "stream", "until")

    aead: AESGCM
    stream: CipherContext

    def __init__(self, aead_key: bytes, stream_key: bytes, terms: Terms) -> None:
        self._aead_key = aead_key
        self._stream_key = stream_key
        self._terms = terms
        self.count = 0
        self.until = 0

    def renew(self) -> None:
        """Make the ciphers for the cells up to `until`; call when `count` reaches it. Raises KeysSpent."""
        if self.count >= self._terms.most_cells:
            raise KeysSpent(f"a circuit has carried {self.count} cells in one direction")
        if self.count:
            self._aead_key = derive(self._aead_key, salt=b"", info=_REKEY_LABEL, length=KEY)
            self._stream_key = derive(self._stream_key, salt=b"", info=_REKEY_LABEL, length=KEY)
        self.aead = AESGCM(self._aead_key)
        self.stream = keystream(self._stream_key)
        self.until = min(self.count + self._terms.rekey_every, self._terms.most_cells)


class RelayLayer:
    """One relay's layer of one circuit. A `prefix` is put before a body as it is built, which saves a copy."""

    __slots__ = ("_backward", "_forward")

    def __init__(self, keys: HopKeys, terms: Terms = TERMS) -> None:
        self._forward = _Direction(keys.forward, keys.filler, terms)
        self._backward = _Direction(keys.end_to_end, keys.backward, terms)

    def peel(self, body: bytes | memoryview, prefix: bytes = b"") -> bytes:
        """The body as the next hop sees it. Raises CryptoError for anything but the circuit's next untouched cell."""
        way = self._forward
        if way.count == way.until:
            way.renew()
        try:
            plain = way.aead.decrypt(way.count.to_bytes(NONCE_LENGTH, "big"), body, None)
        except InvalidTag as error:
            raise CryptoError("a forward cell is altered, replayed or out of order") from error
        way.count += 1
        filler = way.stream.update(_ZERO_TAG)
        return b"".join((prefix, plain[TAG:_INNER_TAGS], filler, plain[_INNER_TAGS:], plain[:TAG]))

    def data(self, peeled: bytes) -> bytes:
        """At the last hop: what the user wrote into a peeled cell."""
        return peeled[_INNER_TAGS:-TAG]

    def originate(self, data: bytes, prefix: bytes = b"") -> bytes:
        """At the last hop: the body of a backward cell that carries `data`, this hop's layer included."""
        way = self._backward
        if way.count == way.until:
            way.renew()
        sealed = way.aead.encrypt(way.count.to_bytes(NONCE_LENGTH, "big"), data, None)
        way.count += 1
        return prefix + way.stream.update(sealed)

    def wrap(self, body: bytes | memoryview, prefix: bytes = b"") -> bytes:
        """A backward cell's body with this hop's layer added."""
        way = self._backward
        if way.count == way.until:
            way.renew()
        way.count += 1
        return prefix + way.stream.update(body)


class UserLayers:
    """All layers of one circuit, at the user's end; hop 0 is the nearest."""

    __slots__ = ("_backward", "_forward")

    def __init__(self, keys: Sequence[HopKeys], terms: Terms = TERMS) -> None:
        assert len(keys) == GEOMETRY.hops
        self._forward = [_Direction(each.forward, each.filler, terms) for each in keys]
        self._backward = [_Direction(each.end_to_end, each.backward, terms) for each in keys]

    def wrap(self, data: bytes) -> bytes:
        """The body of the next forward cell, which carries `data` to the last hop. Raises KeysSpent."""
        nonce = _next_nonce(self._forward)
        plain, sealed = self._slots_at_last_hop(nonce) + data, b""
        for way in reversed(self._forward):
            sealed = way.aead.encrypt(nonce, plain, None)
            # The next hop outward appends the last slot itself (its filler), so it does not decrypt to it.
            plain = sealed[-TAG:] + sealed[: _INNER_TAGS - TAG] + sealed[_INNER_TAGS:-TAG]
        return sealed

    def unwrap(self, body: bytes) -> bytes:
        """The data of the next backward cell. Raises CryptoError when any hop altered it or one got lost."""
        nonce = _next_nonce(self._backward)
        for way in self._backward:
            body = way.stream.update(body)
        try:
            return self._backward[-1].aead.decrypt(nonce, body, None)
        except InvalidTag as error:
            raise CryptoError("a backward cell is altered, replayed or out of order") from error

    def _slots_at_last_hop(self, nonce: bytes) -> bytes:
        """What the last hop's inner slots must decrypt to, so that they encrypt to the fillers of the hops before it."""
        tail = b""
        for way in self._forward:
            stream = way.aead.encrypt(nonce, _ZERO_SLOTS, None)[_INNER_TAGS - len(tail) : _INNER_TAGS]
            tail = _xor(tail, stream) + way.stream.update(_ZERO_TAG)
        return tail[:-TAG]


def _next_nonce(ways: Sequence[_Direction]) -> bytes:
    """The nonce of the next cell in one direction, the same at every hop."""
    count = ways[0].count
    for way in ways:
        if way.count == way.until:
            way.renew()
        way.count += 1
    return count.to_bytes(NONCE_LENGTH, "big")


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
