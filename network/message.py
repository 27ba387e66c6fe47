"""The message of one prompt: reply secret, mode and request, padded to a bucket, split into cloves, sealed to the model node.

Implements `docs/overlay.md` section 5.
"""

import struct

from network.chain_records import DirectoryEntry
from network.clove import Clove, seal_cloves
from network.errors import CryptoError, DecodeError, ModelUnreachable, RequestTooLong
from network.freshness import Rng, minute_of
from network.geometry import CELL_BUCKETS, COMMITMENT, GEOMETRY, KEY, MESSAGE_HEADER, TAG, TOKEN, Seal
from network.modes import Mode, mode_of
from network.sealing import Sealing
from network.sida import split

_MESSAGE = struct.Struct(">BI")

assert KEY + _MESSAGE.size == MESSAGE_HEADER


def pack_message(
    secret: bytes,
    request: bytes,
    mode: Mode = Mode.DEFAULT,
    seal: Seal = Seal.X25519,
    sizes: tuple[int, ...] = CELL_BUCKETS,
) -> tuple[bytes, int]:
    """(padded message, cells per clove): reply secret 32 | mode u8 | length u32 | request | zeros up to the bucket."""
    cells = GEOMETRY.bucket(len(request), seal.overhead, sizes)
    if cells is None:
        raise RequestTooLong(f"a request of {len(request)} bytes does not fit the overlay's largest message")
    message = secret + _MESSAGE.pack(mode, len(request)) + request
    return message.ljust(GEOMETRY.padded_message(cells, seal.overhead), b"\0"), cells


def unpack_message(message: bytes) -> tuple[bytes, Mode, bytes]:
    """(reply secret, mode, request) of a padded message. Raises DecodeError."""
    if len(message) < MESSAGE_HEADER:
        raise DecodeError("a message without its header")
    mode, length = _MESSAGE.unpack_from(message, KEY)
    end = MESSAGE_HEADER + length
    if end > len(message) or message[end:].strip(b"\0"):
        raise DecodeError("a message whose length or padding is not as specified")
    return message[:KEY], mode_of(mode), message[MESSAGE_HEADER:end]


def seal_for(entry: DirectoryEntry, sealing: Sealing) -> tuple[Seal, bytes]:
    """The suite for this model node and the key to seal to. Raises ModelUnreachable."""
    chosen = sealing.choose(entry)
    if chosen is None:
        raise ModelUnreachable(f'model node {entry.node_id.hex()} names no hybrid key, and overlay.seal is "{sealing.seal}"')
    return chosen


def seal_message(
    message: bytes, message_id: bytes, seal: Seal, public: bytes, order: list[int], now: float, rng: Rng
) -> list[tuple[bytes, bytes]]:
    """For every path, its return token and its sealed clove; `order` says which clove each path carries."""
    slices = split(message, GEOMETRY.n, GEOMETRY.k, rng)
    total = len(message) + COMMITMENT + TAG
    minute = minute_of(now)
    cloves = [Clove(GEOMETRY.n, GEOMETRY.k, minute, message_id, rng(TOKEN), total, slices[index]) for index in order]
    try:
        sealed = seal_cloves(cloves, public, seal)
    except CryptoError as error:
        raise ModelUnreachable(f"the model node's key cannot be used: {error}") from error
    return [(clove.token, raw) for clove, raw in zip(cloves, sealed, strict=True)]
