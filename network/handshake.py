"""One-pass circuit set-up: one CREATE cell out, one CREATED cell back, X25519 per hop with forward secrecy.

The CREATE body is one region of slots. A hop opens the front slot with its onion key, removes the slot's length from
the front, appends as many keystream bytes and decrypts the rest: the next hop again sees a full region, and nobody but
the user knows how many slots are in use. On the way back every hop puts its ephemeral key and its confirmation in front
of what came from the next hop, under a stream of its own. Data keys come from both ephemeral keys, so an onion key
stolen later opens nothing. Implements `docs/overlay.md` section 3, reasons in `docs/adr/0033-one-pass-set-up.md`.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest

from network.crypto import NONCE_LENGTH, derive, exchange, exchange_public, open_sealed, seal, sha256
from network.errors import CryptoError, DecodeError
from network.freshness import Rng, is_fresh, minute_of
from network.geometry import GEOMETRY, KEY, NODE_ID, SLOT_PAYLOAD, TAG
from network.onion import HopKeys, keystream

_OPEN_LABEL = b"planetserve/create/1"
_KEYS_LABEL = b"planetserve/circuit/1"
_PAYLOAD = struct.Struct(f">BI{NODE_ID}s")
_RESERVED = SLOT_PAYLOAD - _PAYLOAD.size
_NO_NONCE = bytes(NONCE_LENGTH)  # sound: every slot key comes from a fresh ephemeral key
_LAST, _FORWARD = 1, 0
_REGION = GEOMETRY.cell_body
_SLOT = GEOMETRY.create_slot
_CREATED = GEOMETRY.created_slot
_NO_NEXT = bytes(NODE_ID)


class RelayHandshake:
    """One hop's part of one set-up: made when CREATE arrives, used up when CREATED leaves.

    `next_hop` is None at the last hop; `rest` is the CREATE body for the hop after this one.
    """

    __slots__ = ("_confirmation", "_created_stream", "_ephemeral", "keys", "next_hop", "rest")

    def __init__(self, body: bytes, onion_private: bytes, onion_public: bytes, now: float, rng: Rng) -> None:
        """Open the front slot of a CREATE body. Raises CryptoError or DecodeError; replays are the caller's to refuse."""
        theirs, sealed, rest = body[:KEY], body[KEY:_SLOT], body[_SLOT:]
        static = exchange(onion_private, theirs)
        slot_key, rest_key = _slot_keys(static, theirs, onion_public)
        self.next_hop = _decode_payload(open_sealed(slot_key, _NO_NONCE, sealed, rest), now)
        self.rest = keystream(rest_key).update(rest + bytes(_SLOT))
        private = rng(KEY)
        self._ephemeral = exchange_public(private)
        secret = static + exchange(private, theirs)
        self.keys, self._confirmation, created_key = _hop_keys(secret, theirs, self._ephemeral, onion_public)
        self._created_stream = keystream(created_key)

    def created(self, inner: bytes) -> bytes:
        """The CREATED body for the previous hop. `inner` is the next hop's body; at the last hop, random bytes."""
        covered = self._created_stream.update(inner[: _REGION - _CREATED])
        return self._ephemeral + self._confirmation + covered


@dataclass(frozen=True, slots=True)
class HopIdentity:
    """A hop as the directory names it."""

    node_id: bytes
    onion_key: bytes


class UserHandshake:
    """The user's part of one set-up."""

    __slots__ = ("_hops", "_privates", "_publics", "_statics")

    def __init__(self, hops: Sequence[HopIdentity], rng: Rng) -> None:
        self._hops = tuple(hops)
        self._privates = [rng(KEY) for _ in self._hops]
        self._publics = [exchange_public(private) for private in self._privates]
        self._statics = [exchange(private, hop.onion_key) for private, hop in zip(self._privates, self._hops, strict=True)]

    def create(self, now: float, rng: Rng) -> bytes:
        """The CREATE body for the first hop."""
        keys = [
            _slot_keys(static, public, hop.onion_key)
            for static, public, hop in zip(self._statics, self._publics, self._hops, strict=True)
        ]
        streams = [keystream(rest_key).update(bytes(_REGION)) for _, rest_key in keys]
        region = self._unused_tail(streams, rng)
        minute = minute_of(now)
        for index in reversed(range(len(self._hops))):
            last = index == len(self._hops) - 1
            rest = region if last else _xor(region, streams[index])[: _REGION - _SLOT]
            next_hop = _NO_NEXT if last else self._hops[index + 1].node_id
            payload = _PAYLOAD.pack(_LAST if last else _FORWARD, minute, next_hop) + bytes(_RESERVED)
            region = self._publics[index] + seal(keys[index][0], _NO_NONCE, payload, rest) + rest
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
            keys, expected, created_key = _hop_keys(secret, public, theirs, hop.onion_key)
            if not compare_digest(confirmation, expected):
                raise CryptoError(f"hop {len(found)} of a circuit does not confirm its keys")
            found.append(keys)
            body = keystream(created_key).update(body[_CREATED:])
        return tuple(found)


def _slot_keys(static: bytes, ephemeral: bytes, onion_key: bytes) -> tuple[bytes, bytes]:
    """The key that opens a slot and the key of the stream over the rest."""
    both = derive(static, salt=sha256(_OPEN_LABEL, ephemeral, onion_key), info=_OPEN_LABEL, length=2 * KEY)
    return both[:KEY], both[KEY:]


def _hop_keys(secret: bytes, user: bytes, relay: bytes, onion_key: bytes) -> tuple[HopKeys, bytes, bytes]:
    """(data keys, confirmation, key of the stream over CREATED) from both Diffie-Hellman results and the transcript."""
    salt = sha256(_KEYS_LABEL, user, relay, onion_key)
    raw = derive(secret, salt=salt, info=_KEYS_LABEL, length=HopKeys.LENGTH + KEY + TAG)
    forward, backward, filler, end_to_end, created = (raw[at : at + KEY] for at in range(0, 5 * KEY, KEY))
    return HopKeys(forward, backward, filler, end_to_end), raw[5 * KEY :], created


def _decode_payload(payload: bytes, now: float) -> bytes | None:
    flags, minute, next_hop = _PAYLOAD.unpack_from(payload)
    if any(payload[_PAYLOAD.size :]) or flags not in (_LAST, _FORWARD) or (flags == _LAST) != (next_hop == _NO_NEXT):
        raise DecodeError("a CREATE slot with unknown flags or reserved bytes")
    if not is_fresh(minute, now):
        raise DecodeError("a CREATE slot from another time; check this machine's clock if it happens often")
    return None if flags == _LAST else bytes(next_hop)


def _xor(left: bytes, right: bytes) -> bytes:
    size = min(len(left), len(right))
    return (int.from_bytes(left[:size], "big") ^ int.from_bytes(right[:size], "big")).to_bytes(size, "big")
