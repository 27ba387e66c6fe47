"""S-IDA: secure information dispersal of one message into n slices of which any k recover it.

The message is encrypted with a fresh AES-256-GCM key that it commits to; the ciphertext is dispersed (XOR parity when
n = k + 1, Reed-Solomon through zfec otherwise) and the key is shared so that fewer than k shares are uniformly random
whatever the key is. Implements `docs/overlay.md` section 5; reasons in `docs/adr/0030-s-ida.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import zfec

from network.crypto import KEY_LENGTH, NONCE_LENGTH, open_sealed, seal, sha256
from network.errors import CryptoError, LocalProtocolError
from network.freshness import Rng
from network.geometry import COMMITMENT

_COMMITMENT_DOMAIN = b"planetserve/sida-key/1"
_NO_NONCE = bytes(NONCE_LENGTH)  # sound: every key encrypts exactly one message


@dataclass(frozen=True, slots=True)
class Slice:
    """One of n slices: a share of the key and a fragment of the ciphertext."""

    index: int
    share: bytes
    fragment: bytes


def split(message: bytes, n: int, k: int, rng: Rng) -> tuple[Slice, ...]:
    """n slices of `message`, indexed from 0; the fragments are ceil(total / k) bytes each."""
    key = rng(KEY_LENGTH)
    sealed = seal(key, _NO_NONCE, _commitment(key) + message, bytes((n, k)))
    shares = share_key(key, n, k, rng)
    fragments = disperse(sealed, n, k)
    return tuple(Slice(index, share, part) for index, (share, part) in enumerate(zip(shares, fragments, strict=True)))


def combine(slices: Mapping[int, Slice], n: int, k: int, total: int) -> bytes:
    """The message behind any k of the n slices. `total` is the ciphertext's length. Raises CryptoError."""
    chosen = dict(sorted(slices.items())[:k])
    sealed = gather({i: s.fragment for i, s in chosen.items()}, n, k, total)
    key = recover_key({i: s.share for i, s in chosen.items()}, n, k)
    opened = open_sealed(key, _NO_NONCE, sealed, bytes((n, k)))
    if opened[:COMMITMENT] != _commitment(key):
        raise CryptoError("a message does not commit to the key that opens it")
    return opened[COMMITMENT:]


def share_key(key: bytes, n: int, k: int, rng: Rng) -> list[bytes]:
    """n shares of a key: the check symbols of a [k + n, k] MDS code over (key, k - 1 random blocks).

    The key itself is never given out. Any k shares determine the key; with fewer, every key is equally likely.
    """
    blocks = [key, *(rng(len(key)) for _ in range(k - 1))]
    shares: list[bytes] = _encoder(k, k + n).encode(blocks, tuple(range(k, k + n)))
    return shares


def recover_key(shares: Mapping[int, bytes], n: int, k: int) -> bytes:
    """The key behind exactly k shares, by index."""
    _require(shares, n, k)
    blocks: list[bytes] = _decoder(k, k + n).decode(list(shares.values()), [k + index for index in shares])
    return blocks[0]


def disperse(data: bytes, n: int, k: int) -> list[bytes]:
    """n fragments of `data`, zero-padded to a multiple of k; the first k are the data itself."""
    size = -(-len(data) // k)
    padded = data.ljust(size * k, b"\0")
    parts = [padded[at : at + size] for at in range(0, size * k, size)]
    if n == k + 1:
        return [*parts, _xor(parts)]
    fragments: list[bytes] = _encoder(k, n).encode(parts, tuple(range(n)))
    return fragments


def gather(fragments: Mapping[int, bytes], n: int, k: int, total: int) -> bytes:
    """The `total` bytes behind exactly k fragments, by index."""
    _require(fragments, n, k)
    if len({len(part) for part in fragments.values()}) != 1 or -(-total // k) != len(next(iter(fragments.values()))):
        raise CryptoError("fragments of unequal length, or of another message")
    if n != k + 1:
        decoded: list[bytes] = _decoder(k, n).decode(list(fragments.values()), list(fragments))
        return b"".join(decoded)[:total]
    parts = dict(fragments)
    missing = [index for index in range(k) if index not in parts]
    if missing:
        parts[missing[0]] = _xor(list(fragments.values()))
    return b"".join(parts[index] for index in range(k))[:total]


@cache
def _encoder(k: int, m: int) -> zfec.Encoder:
    """A code's tables, made once; n and k are at most 16."""
    return zfec.Encoder(k, m)


@cache
def _decoder(k: int, m: int) -> zfec.Decoder:
    return zfec.Decoder(k, m)


def _require(given: Mapping[int, bytes], n: int, k: int) -> None:
    if len(given) != k or not all(0 <= index < n for index in given):
        raise LocalProtocolError(f"recovery needs exactly {k} slices with an index below {n}, not {sorted(given)}")


def _xor(parts: list[bytes]) -> bytes:
    result = np.frombuffer(parts[0], np.uint8).copy()
    for part in parts[1:]:
        result ^= np.frombuffer(part, np.uint8)
    return result.tobytes()


def _commitment(key: bytes) -> bytes:
    return sha256(_COMMITMENT_DOMAIN, key)[:COMMITMENT]
