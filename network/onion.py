"""The layers of a circuit after set-up: symmetric only, one per hop and direction.

Forward, every hop is an AEAD: it checks the tag in the front slot, decrypts, shifts the slots and appends a keyed filler
that the user has foreseen, so that the next honest hop drops an altered cell and no hop learns its position. Backward,
every hop adds a stream layer; only the user can check the end-to-end tag. Counters are nonces: links are ordered, so a
replayed, reordered or lost cell fails. Implements `docs/overlay.md` section 4, reasons in
`docs/adr/0032-layers.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from network.crypto import NONCE_LENGTH
from network.errors import CryptoError
from network.geometry import GEOMETRY, KEY, TAG

_ZERO_TAG = bytes(TAG)
_INNER_TAGS = GEOMETRY.tags - TAG
_ZERO_SLOTS = bytes(_INNER_TAGS)


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


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(NONCE_LENGTH, "big")


class RelayLayer:
    """One relay's layer of one circuit."""

    __slots__ = ("_backward", "_end_to_end", "_filler", "_forward", "_received", "_sent")

    def __init__(self, keys: HopKeys) -> None:
        self._forward = AESGCM(keys.forward)
        self._backward = keystream(keys.backward)
        self._filler = keystream(keys.filler)
        self._end_to_end = AESGCM(keys.end_to_end)
        self._received = 0
        self._sent = 0

    def peel(self, body: bytes) -> bytes:
        """The body as the next hop sees it. Raises CryptoError for anything but the circuit's next untouched cell."""
        try:
            plain = self._forward.decrypt(_nonce(self._received), body[TAG:] + body[:TAG], None)
        except InvalidTag as error:
            raise CryptoError("a forward cell is altered, replayed or out of order") from error
        self._received += 1
        return plain[:_INNER_TAGS] + self._filler.update(_ZERO_TAG) + plain[_INNER_TAGS:]

    def data(self, peeled: bytes) -> bytes:
        """At the last hop: what the user wrote into a peeled cell."""
        return peeled[GEOMETRY.tags :]

    def originate(self, data: bytes) -> bytes:
        """At the last hop: the body of a backward cell that carries `data`, this hop's layer included."""
        sealed = self._end_to_end.encrypt(_nonce(self._sent), data, None)
        self._sent += 1
        return self._backward.update(sealed)

    def wrap(self, body: bytes) -> bytes:
        """A backward cell's body with this hop's layer added."""
        return self._backward.update(body)


class _UserHop:
    __slots__ = ("backward", "filler", "forward")

    def __init__(self, keys: HopKeys) -> None:
        self.forward = AESGCM(keys.forward)
        self.backward = keystream(keys.backward)
        self.filler = keystream(keys.filler)


class UserLayers:
    """All layers of one circuit, at the user's end; hop 0 is the nearest."""

    __slots__ = ("_end_to_end", "_hops", "_received", "_sent")

    def __init__(self, keys: Sequence[HopKeys]) -> None:
        assert len(keys) == GEOMETRY.hops
        self._hops = [_UserHop(each) for each in keys]
        self._end_to_end = AESGCM(keys[-1].end_to_end)
        self._sent = 0
        self._received = 0

    def wrap(self, data: bytes) -> bytes:
        """The body of the next forward cell, which carries `data` to the last hop."""
        nonce = _nonce(self._sent)
        self._sent += 1
        plain = self._slots_at_last_hop(nonce) + data
        for hop in reversed(self._hops):
            sealed = hop.forward.encrypt(nonce, plain, None)
            body = sealed[-TAG:] + sealed[:-TAG]
            # The next hop outward appends the last slot itself (its filler), so it does not decrypt to it.
            plain = body[:_INNER_TAGS] + body[_INNER_TAGS + TAG :]
        return body

    def unwrap(self, body: bytes) -> bytes:
        """The data of the next backward cell. Raises CryptoError when any hop altered it or one got lost."""
        for hop in self._hops:
            body = hop.backward.update(body)
        try:
            data = self._end_to_end.decrypt(_nonce(self._received), body, None)
        except InvalidTag as error:
            raise CryptoError("a backward cell is altered, replayed or out of order") from error
        self._received += 1
        return data

    def _slots_at_last_hop(self, nonce: bytes) -> bytes:
        """What the last hop's inner slots must decrypt to, so that they encrypt to the fillers of the hops before it."""
        tail = b""
        for hop in self._hops:
            stream = hop.forward.encrypt(nonce, _ZERO_SLOTS, None)[_INNER_TAGS - len(tail) : _INNER_TAGS]
            tail = _xor(tail, stream) + hop.filler.update(_ZERO_TAG)
        return tail[:-TAG]


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
