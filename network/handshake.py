"""One-pass circuit set-up: one CREATE cell out, one CREATED cell back, X25519 per hop with forward secrecy.

The CREATE body is one region of slots. A hop opens the front slot with its onion key, removes the slot's length from
the front, appends as many keystream bytes and decrypts the rest: the next hop again sees a full region, and nobody but
the user knows how many slots are in use. On the way back every hop puts its ephemeral key and its confirmation in front
of what came from the next hop, under a stream of its own. Data keys come from both ephemeral keys, so an onion key
stolen later opens nothing, and from the hash of the directory, so a user who was shown another list opens no circuit with
honest relays. Implements `docs/overlay.md` section 3, reasons in `docs/adr/0033-one-pass-set-up.md`.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from network.crypto import NONCE_LENGTH, derive, exchange, exchange_public, sha256
from network.errors import CryptoError, DecodeError
from network.freshness import Rng, is_fresh, minute_of
from network.geometry import DIRECTORY_NAME, GEOMETRY, KEY, NODE_ID, SLOT_PAYLOAD, SOLUTION, TAG
from network.onion import HopKeys
from network.puzzle import puzzle

_OPEN_LABEL = b"planetserve/create/1"
_KEYS_LABEL = b"planetserve/circuit/1"
_PAYLOAD = struct.Struct(f">BI{NODE_ID}s{DIRECTORY_NAME}s")
_NO_RESERVED = bytes(SLOT_PAYLOAD - _PAYLOAD.size)
_SLOT_NONCE = _CREATED_NONCE = bytes(NONCE_LENGTH)
_REST_NONCE = b"\x01".rjust(NONCE_LENGTH, b"\0")
_LAST, _FORWARD = 1, 0
_REGION = GEOMETRY.cell_body
_SLOT = GEOMETRY.create_slot
_SOLVED = KEY + SOLUTION
_CREATED = GEOMETRY.created_slot
_NO_NEXT = bytes(NODE_ID)
_NO_SLOT = bytes(_SLOT)


class ForeignDirectory(DecodeError):
    """A set-up names a directory that this relay does not know."""


class OnionKey(NamedTuple):
    """A relay's X25519 key pair. The private half is never shown, never logged."""

    private: bytes
    public: bytes

    def __repr__(self) -> str:
        return f"OnionKey(public={self.public.hex()})"


class RelayHandshake:
    """One hop's part of one set-up: made when CREATE arrives, used up when CREATED leaves.

    `next_hop` is None at the last hop; `rest` is the CREATE body for the hop after this one.
    """

    __slots__ = ("_confirmation", "_created_key", "_ephemeral", "keys", "next_hop", "rest")

    def __init__(
        self, body: bytes, node_id: bytes, onion_key: OnionKey, directories: Sequence[bytes], now: float, rng: Rng
    ) -> None:
        """Open the front slot of a CREATE body. Raises CryptoError, DecodeError, or ForeignDirectory when the slot names
        none of `directories`; replays are the caller's to refuse."""
        theirs, solution, sealed, rest = body[:KEY], body[KEY:_SOLVED], body[_SOLVED:_SLOT], body[_SLOT:]
        onion_private, onion_public = onion_key
        static = exchange(onion_private, theirs)
        cipher = _slot_cipher(static, node_id, theirs, onion_public)
        try:
            payload = cipher.decrypt(_SLOT_NONCE, sealed, solution + rest)
        except InvalidTag as error:
            raise CryptoError("a CREATE slot does not open") from error
        self.next_hop, directory = _decode_payload(payload, directories, now)
        self.rest = _covered(cipher, _REST_NONCE, rest + _NO_SLOT)
        private = rng(KEY)
        self._ephemeral = exchange_public(private)
        secret = static + exchange(private, theirs)
        self.keys, self._confirmation, self._created_key = _hop_keys(
            secret, directory, node_id, theirs, self._ephemeral, onion_public
        )

    def created(self, inner: bytes) -> bytes:
        """The CREATED body for the previous hop. `inner` is the next hop's body; at the last hop, random bytes."""
        covered = _covered(AESGCM(self._created_key), _CREATED_NONCE, inner[: _REGION - _CREATED])
        return self._ephemeral + self._confirmation + covered


@dataclass(frozen=True, slots=True)
class HopIdentity:
    """A hop as the directory names it."""

    node_id: bytes
    onion_key: bytes


class UserHandshake:
    """The user's part of one set-up. `directory` is the name of the directory that the hops come from."""

    __slots__ = ("_directory", "_hops", "_privates", "_publics", "_statics")

    def __init__(self, hops: Sequence[HopIdentity], directory: bytes, rng: Rng) -> None:
        assert len(directory) == DIRECTORY_NAME
        self._directory = directory
        self._hops = tuple(hops)
        self._privates = [rng(KEY) for _ in self._hops]
        self._publics = [exchange_public(private) for private in self._privates]
        self._statics = [exchange(private, hop.onion_key) for private, hop in zip(self._privates, self._hops, strict=True)]

    @property
    def puzzles(self) -> tuple[bytes, ...]:
        """What every hop would have solved while it is busy (`puzzle.py`)."""
        return tuple(
            puzzle(self._directory, hop.onion_key, public) for hop, public in zip(self._hops, self._publics, strict=True)
        )

    def create(self, now: float, rng: Rng, solutions: Sequence[bytes] = ()) -> bytes:
        """The CREATE body for the first hop; without `solutions` to the puzzles, random bytes stand in their place."""
        solved = tuple(solutions) or tuple(rng(SOLUTION) for _ in self._hops)
        ciphers = [
            _slot_cipher(static, hop.node_id, public, hop.onion_key)
            for static, public, hop in zip(self._statics, self._publics, self._hops, strict=True)
        ]
        streams = [_covered(cipher, _REST_NONCE, bytes(_REGION)) for cipher in ciphers]
        region = self._unused_tail(streams, rng)
        minute = minute_of(now)
        for index in reversed(range(len(self._hops))):
            last = index == len(self._hops) - 1
            rest = region if last else _xor(region, streams[index])[: _REGION - _SLOT]
            next_hop = _NO_NEXT if last else self._hops[index + 1].node_id
            payload = _PAYLOAD.pack(_LAST if last else _FORWARD, minute, next_hop, self._directory) + _NO_RESERVED
            sealed = ciphers[index].encrypt(_SLOT_NONCE, payload, solved[index] + rest)
            region = self._publics[index] + solved[index] + sealed + rest
        return region

    def _unused_tail(self, streams: Sequence[bytes], rng: Rng) -> bytes:
        """What follows the last hop's slot when that hop sees it: random slots and the fillers of the hops before."""
        tail = rng(_REGION - len(self._hops) * _SLOT)
        for stream in streams[:-1]:
            tail = _xor(tail + bytes(_SLOT), stream[_REGION - len(tail) - _SLOT :])
        return tail

    def finish(self, body: bytes) -> tuple[HopKeys, ...]:
        """Every hop's keys out of the CREATED body. Raises CryptoError when a hop does not confirm."""
        found: list[HopKeys] = []
        for private, public, static, hop in zip(self._privates, self._publics, self._statics, self._hops, strict=True):
            theirs, confirmation = body[:KEY], body[KEY:_CREATED]
            secret = static + exchange(private, theirs)
            keys, expected, created_key = _hop_keys(secret, self._directory, hop.node_id, public, theirs, hop.onion_key)
            if not compare_digest(confirmation, expected):
                raise CryptoError(f"hop {len(found)} of a circuit does not confirm its keys")
            found.append(keys)
            body = _covered(AESGCM(created_key), _CREATED_NONCE, body[_CREATED:])
        return tuple(found)


def _slot_cipher(static: bytes, node_id: bytes, ephemeral: bytes, onion_key: bytes) -> AESGCM:
    """What opens a slot and covers the rest, under one nonce each: the key comes from a fresh ephemeral key."""
    return AESGCM(derive(static, salt=sha256(_OPEN_LABEL, node_id, ephemeral, onion_key), info=_OPEN_LABEL, length=KEY))


def _covered(cipher: AESGCM, nonce: bytes, raw: bytes) -> bytes:
    """`raw` under the cipher's key stream, both ways alike: AES-GCM without its tag, which costs half of AES-CTR here."""
    return cipher.encrypt(nonce, raw, None)[:-TAG]


def _hop_keys(
    secret: bytes, directory: bytes, node_id: bytes, user: bytes, relay: bytes, onion_key: bytes
) -> tuple[HopKeys, bytes, bytes]:
    """(data keys, confirmation, key of the stream over CREATED) from both Diffie-Hellman results and the transcript."""
    salt = sha256(_KEYS_LABEL, directory, node_id, user, relay, onion_key)
    raw = derive(secret, salt=salt, info=_KEYS_LABEL, length=HopKeys.LENGTH + KEY + TAG)
    forward, backward, filler, end_to_end, created = (raw[at : at + KEY] for at in range(0, 5 * KEY, KEY))
    return HopKeys(forward, backward, filler, end_to_end), raw[5 * KEY :], created


def _decode_payload(payload: bytes, directories: Sequence[bytes], now: float) -> tuple[bytes | None, bytes]:
    """(next hop or None, directory)."""
    flags, minute, next_hop, directory = _PAYLOAD.unpack_from(payload)
    if payload[_PAYLOAD.size :] != _NO_RESERVED or flags not in (_LAST, _FORWARD) or (flags == _LAST) != (next_hop == _NO_NEXT):
        raise DecodeError("a CREATE slot with unknown flags or reserved bytes")
    if not is_fresh(minute, now):
        raise DecodeError("a CREATE slot from another time; check this machine's clock if it happens often")
    if directory not in directories:
        raise ForeignDirectory("a CREATE slot names a directory that this relay does not know")
    return (None if flags == _LAST else next_hop), directory


def _xor(left: bytes, right: bytes) -> bytes:
    size = min(len(left), len(right))
    return (int.from_bytes(left[:size], "big") ^ int.from_bytes(right[:size], "big")).to_bytes(size, "big")
