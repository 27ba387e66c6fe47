"""S-IDA: secure information dispersal of one message into n slices of which any k recover it.

The message is encrypted with a fresh AES-256-GCM key that it commits to; the ciphertext is dispersed (XOR parity when
n = k + 1, Reed-Solomon through zfec otherwise) and the key is shared so that fewer than k shares are uniformly random
whatever the key is. Implements `docs/overlay.md` section 5; reasons in `docs/adr/0030-s-ida.md`, of the buffers in
`docs/adr/0115-buffers-of-large-messages.md`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import combinations, islice
from typing import NamedTuple

import numpy as np
import zfec

from network.buffers import BufferPool
from network.crypto import KEY_LENGTH, NONCE_LENGTH, TAG_LENGTH, Buffer, open_sealed, open_split, seal, seal_joined, sha256
from network.errors import CryptoError, LocalProtocolError
from network.freshness import Rng
from network.geometry import COMMITMENT

_COMMITMENT_DOMAIN = b"planetserve/sida-key/1"
_NO_NONCE = bytes(NONCE_LENGTH)  # sound: every key encrypts exactly one message
_OVERHEAD = COMMITMENT + TAG_LENGTH
_LARGE = 64 * 1024  # from here on fresh memory costs more than the encryption
_SMALL_XOR = 512
_TRIES = 4
_pool = BufferPool()
_array, _number = np.frombuffer, int.from_bytes


class Slice(NamedTuple):
    """One of n slices: a share of the key and a fragment of the ciphertext."""

    index: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls
    share: bytes
    fragment: Buffer


# Slice._make, which checks the number of fields in Python, costs five times as much.
_make_slice: Callable[[tuple[int, bytes, Buffer]], Slice] = partial(tuple.__new__, Slice)


def split(message: bytes, n: int, k: int, rng: Rng) -> tuple[Slice, ...]:
    """n slices of `message`, indexed from 0; the fragments are ceil(total / k) bytes each."""
    drawn = rng(KEY_LENGTH * k)
    key = drawn[:KEY_LENGTH]
    fragments: Sequence[Buffer]
    if n == k + 1 and len(message) >= _LARGE:
        fragments = _disperse_large(key, message, k)
    else:
        fragments = disperse(seal(key, _NO_NONCE, _commitment(key) + message, bytes((n, k))), n, k)
    return tuple(map(_make_slice, zip(range(n), share_key(drawn, n, k), fragments, strict=True)))


def combine(slices: Mapping[int, Slice], n: int, k: int, total: int) -> bytes:
    """The message behind the n slices or any k of them; `total` is the ciphertext's length. Raises CryptoError.

    When some are altered, at most four choices of k are tried.
    """
    indices = sorted(slices)
    _require(indices[:k], n, k)
    if len(indices) == k:
        return _combine(slices, indices, n, k, total)
    failure = CryptoError("no choice of slices opens")
    for chosen in islice(combinations(indices, k), _TRIES):
        try:
            return _combine(slices, list(chosen), n, k, total)
        except CryptoError as error:
            failure = error
    raise failure


def _combine(slices: Mapping[int, Slice], indices: list[int], n: int, k: int, total: int) -> bytes:
    chosen = [slices[index] for index in indices]
    key = _recover(indices, [each.share for each in chosen], n, k)
    fragments, aad = [each.fragment for each in chosen], bytes((n, k))
    _check_lengths(fragments, k, total)
    if n == k + 1 and total >= _LARGE:
        commitment, message = open_split(key, _NO_NONCE, _gather_large(indices, fragments, k, total), COMMITMENT, aad)
    else:
        opened = open_sealed(key, _NO_NONCE, _gather(indices, fragments, n, k, total), aad)
        commitment, message = opened[:COMMITMENT], opened[COMMITMENT:]
    if commitment != _commitment(key):
        raise CryptoError("a message does not commit to the key that opens it")
    return message


def _disperse_large(key: bytes, message: bytes, k: int) -> list[memoryview]:
    """What `disperse` makes of the encrypted message for n = k + 1, written into one used buffer."""
    total = len(message) + _OVERHEAD
    size = -(-total // k)
    view = _pool.take(size * (k + 1))
    seal_joined(key, _NO_NONCE, _commitment(key), message, bytes((k + 1, k)), view)
    view[total : size * k] = bytes(size * k - total)
    _fill(view, size, k, k)
    return [view[at : at + size] for at in range(0, len(view), size)]


def _gather_large(indices: list[int], fragments: list[Buffer], k: int, total: int) -> memoryview:
    """What `_gather` answers for n = k + 1, in a used buffer."""
    size = -(-total // k)
    view = _pool.take(size * (k + 1))
    for index, part in zip(indices, fragments, strict=True):
        view[index * size : (index + 1) * size] = part
    if indices[-1] == k:
        _fill(view, size, k, _missing(indices, k))
    return view[:total]


def _fill(view: memoryview, size: int, k: int, missing: int) -> None:
    """Set one of the k + 1 rows to the XOR of all others."""
    rows = np.frombuffer(view, np.uint8).reshape(k + 1, size)
    first, *rest = (row for row in range(k + 1) if row != missing)
    target = rows[missing]
    target[:] = rows[first] if not rest else np.bitwise_xor(rows[first], rows[rest[0]], out=target)
    for row in rest[1:]:
        np.bitwise_xor(target, rows[row], out=target)


def share_key(drawn: bytes, n: int, k: int) -> list[bytes]:
    """n shares of a key: the check symbols of a [k + n, k] MDS code over `drawn`, the key and k - 1 random blocks.

    The key itself is never given out. Any k shares determine the key; with fewer, every key is equally likely.
    """
    size = len(drawn) // k
    encoder, checks = _shares_code(n, k)
    shares: list[bytes] = encoder.encode([drawn[at : at + size] for at in range(0, size * k, size)], checks)
    return shares


def recover_key(shares: Mapping[int, bytes], n: int, k: int) -> bytes:
    """The key behind exactly k shares, by index."""
    indices = sorted(shares)
    _require(indices, n, k)
    return _recover(indices, [shares[index] for index in indices], n, k)


def _recover(indices: list[int], shares: list[bytes], n: int, k: int) -> bytes:
    blocks: list[bytes] = _decoder(k, k + n).decode(shares, [k + index for index in indices])
    return blocks[0]


def disperse(data: bytes, n: int, k: int) -> list[Buffer]:
    """n fragments of `data`, zero-padded to a multiple of k; the first k are the data itself."""
    size = -(-len(data) // k)
    padded = data if len(data) == size * k else data.ljust(size * k, b"\0")
    parts: list[Buffer] = [padded[at : at + size] for at in range(0, size * k, size)]
    if n != k + 1:
        fragments: list[Buffer] = _encoder(k, n).encode(parts, tuple(range(n)))
        return fragments
    parts.append(_xor(parts) if size <= _SMALL_XOR else _xor_rows(padded, k, size))
    return parts


def _xor_rows(data: bytes, k: int, size: int) -> bytes:
    """The XOR of the k parts of `data`, each of `size` bytes."""
    rows = _array(data, np.uint8).reshape(k, size)
    result = rows[0] ^ rows[1] if k > 1 else rows[0]
    for row in range(2, k):
        result ^= rows[row]
    parity: bytes = result.tobytes()
    return parity


def gather(fragments: Mapping[int, Buffer], n: int, k: int, total: int) -> bytes:
    """The `total` bytes behind exactly k fragments, by index."""
    indices = sorted(fragments)
    _require(indices, n, k)
    parts = [fragments[index] for index in indices]
    _check_lengths(parts, k, total)
    return bytes(_gather(indices, parts, n, k, total))


def _gather(indices: list[int], parts: list[Buffer], n: int, k: int, total: int) -> Buffer:
    """The data behind k fragments that have been checked, in the order of their indices."""
    if n != k + 1:
        parts = _decoder(k, n).decode(parts, indices)
    elif indices[-1] == k:
        lost = _missing(indices, k)
        parts = [*parts[:lost], _xor(parts), *parts[lost:-1]]
    joined = b"".join(parts)
    return joined if len(joined) == total else memoryview(joined)[:total]


def _missing(indices: list[int], k: int) -> int:
    """The one number of 0..k that is not among these k."""
    return k * (k + 1) // 2 - sum(indices)


def _check_lengths(fragments: list[Buffer], k: int, total: int) -> None:
    size = -(-total // k)
    for part in fragments:
        if len(part) != size:
            raise CryptoError("fragments of unequal length, or of another message")


@cache
def _shares_code(n: int, k: int) -> tuple[zfec.Encoder, tuple[int, ...]]:
    """The code that shares keys, and the numbers of the symbols that are given out."""
    return zfec.Encoder(k, k + n), tuple(range(k, k + n))


@cache
def _encoder(k: int, m: int) -> zfec.Encoder:
    """A code's tables, made once; n and k are at most 16."""
    return zfec.Encoder(k, m)


@cache
def _decoder(k: int, m: int) -> zfec.Decoder:
    return zfec.Decoder(k, m)


def _require(indices: list[int], n: int, k: int) -> None:
    if len(indices) != k or indices[0] < 0 or indices[-1] >= n:
        raise LocalProtocolError(f"recovery needs {k} slices with an index below {n}, not {indices}")


def _xor(parts: list[Buffer]) -> bytes:
    size = len(parts[0])
    if size <= _SMALL_XOR:
        value = 0
        for part in parts:
            value ^= _number(part, "little")
        return value.to_bytes(size, "little")
    rows = [_array(part, np.uint8) for part in parts]
    result = rows[0] ^ rows[1] if len(rows) > 1 else rows[0]
    for row in rows[2:]:
        result ^= row
    return result.tobytes()


def _commitment(key: bytes) -> bytes:
    return sha256(_COMMITMENT_DOMAIN, key)[:COMMITMENT]
