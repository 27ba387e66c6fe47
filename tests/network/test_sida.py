"""S-IDA: any k of n recover, fewer than k shares say nothing about the key, and a changed slice is noticed."""

import random
from itertools import combinations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given, settings
from hypothesis import strategies as st

from network.crypto import open_sealed, seal, sha256
from network.errors import CryptoError, LocalProtocolError
from network.geometry import COMMITMENT, TAG
from network.sida import _LARGE, Slice, combine, disperse, gather, recover_key, share_key, split

CODES = [(4, 3), (3, 2), (6, 4), (5, 2), (3, 3), (2, 1)]


def _total(message: bytes) -> int:
    return len(message) + COMMITMENT + TAG


@pytest.mark.parametrize(("n", "k"), CODES)
@given(message=st.binary(max_size=3000), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_any_k_of_n_recover_the_message(n: int, k: int, message: bytes, seed: int) -> None:
    slices = split(message, n, k, random.Random(seed).randbytes)
    for chosen in combinations(slices, k):
        assert combine({s.index: s for s in chosen}, n, k, _total(message)) == message
    assert combine({s.index: s for s in slices}, n, k, _total(message)) == message


@given(st.binary(min_size=1, max_size=500), st.integers(0, 2), st.integers(0), st.booleans())
@settings(deadline=None)
def test_a_changed_bit_is_noticed(message: bytes, index: int, bit: int, in_share: bool) -> None:
    slices = {s.index: s for s in split(message, 4, 3, random.Random(1).randbytes)}
    held = slices.pop(3) and slices[index]
    target = bytearray(held.share if in_share else held.fragment)
    bit %= 8 * len(target)
    target[bit // 8] ^= 1 << bit % 8
    changed = Slice(index, bytes(target), held.fragment) if in_share else Slice(index, held.share, bytes(target))
    padding = not in_share and index * len(held.fragment) + bit // 8 >= _total(message)
    if padding:
        return
    with pytest.raises(CryptoError):
        combine({**slices, index: changed}, 4, 3, _total(message))


def test_two_shares_are_exactly_uniform_whatever_the_key_is() -> None:
    """For every key byte, the 65,536 choices of the random blocks give every pair of share bytes exactly once."""
    grid = np.arange(65536, dtype=np.uint32)
    blinds = (grid >> 8).astype(np.uint8).tobytes() + (grid & 255).astype(np.uint8).tobytes()
    for key_byte in range(256):
        shares = share_key(bytes([key_byte]) * 65536 + blinds, 4, 3)
        for left, right in combinations(shares, 2):
            seen = np.zeros(65536, bool)
            seen[np.frombuffer(left, np.uint8).astype(np.uint32) << 8 | np.frombuffer(right, np.uint8)] = True
            assert seen.all()


def test_shares_come_from_the_rng_and_never_contain_the_key() -> None:
    drawn, asked = random.Random(2), []

    def rng(size: int) -> bytes:
        asked.append(drawn.randbytes(size))
        return asked[-1]

    slices = split(b"a message", 4, 3, rng)
    assert len(asked) == 1 and len(asked[0]) == 96, "the key and two blocks, drawn at once"
    key = asked[0][:32]
    assert len(slices) == 4 and all(each.share not in asked[0] for each in slices)
    assert recover_key({index: slices[index].share for index in (0, 2, 3)}, 4, 3) == key
    assert [each.share for each in slices] == share_key(asked[0], 4, 3)


def test_parity_vector() -> None:
    assert disperse(b"\x01\x02\x03\x04\x05", 4, 3) == [b"\x01\x02", b"\x03\x04", b"\x05\x00", b"\x07\x06"]
    assert gather({0: b"\x01\x02", 2: b"\x05\x00", 3: b"\x07\x06"}, 4, 3, 5) == b"\x01\x02\x03\x04\x05"


@pytest.mark.parametrize("size", [_LARGE - 1, _LARGE, 3 * _LARGE - 33, 3 * _LARGE - 32, 300_001])
def test_large_messages_are_written_into_buffers_and_say_the_same(size: int) -> None:
    message = random.Random(size).randbytes(size)
    drawn = random.Random(9).randbytes(96)
    slices = split(message, 4, 3, lambda _: drawn)
    key = drawn[:32]
    commitment = sha256(b"planetserve/sida-key/1", key)[:COMMITMENT]
    plain = disperse(seal(key, bytes(12), commitment + message, b"\x04\x03"), 4, 3)
    assert [bytes(each.fragment) for each in slices] == plain
    for chosen in combinations(slices, 3):
        assert combine({each.index: each for each in chosen}, 4, 3, _total(message)) == message
    with pytest.raises(CryptoError):
        combine({each.index: each for each in slices[1:]}, 4, 3, _total(message) - 1)
    other = split(bytes(size), 4, 3, random.Random(8).randbytes)
    assert [bytes(each.fragment) for each in slices] == plain, "what is held is never written over"
    assert other[0].fragment != slices[0].fragment


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize("bad", range(4))
def test_one_altered_slice_of_four_is_worked_around(size: int, bad: int) -> None:
    message = random.Random(size).randbytes(size)
    slices = {each.index: each for each in split(message, 4, 3, random.Random(1).randbytes)}
    fragment = bytes(slices[bad].fragment)
    slices[bad] = Slice(bad, slices[bad].share, bytes([fragment[0] ^ 1]) + fragment[1:])
    assert combine(slices, 4, 3, _total(message)) == message


def test_a_ciphertext_that_two_keys_open_is_refused() -> None:
    """AES-GCM alone does not commit to its key: whoever knows both makes one ciphertext that opens, differently, under each."""
    first, second = bytes(range(32)), bytes(range(32, 64))
    sealed = two_key_ciphertext(first, second, COMMITMENT + 16, b"\x04\x03")
    opened = [open_sealed(key, bytes(12), sealed, b"\x04\x03") for key in (first, second)]
    assert opened[0] != opened[1], "the attack on the bare cipher works"
    fragments = disperse(sealed, 4, 3)
    for key in (first, second):
        shares = share_key(key + bytes(64), 4, 3)
        with pytest.raises(CryptoError, match="commit"):
            combine({i: Slice(i, shares[i], fragments[i]) for i in range(3)}, 4, 3, len(sealed))


def two_key_ciphertext(first: bytes, second: bytes, size: int, aad: bytes) -> bytes:
    """A ciphertext of `size` bytes (whole blocks, at least one) and one tag that verifies under both keys at nonce zero."""
    blocks = size // 16
    lengths = (len(aad) * 8).to_bytes(8, "big") + (size * 8).to_bytes(8, "big")
    h = [_block(key, bytes(16)) for key in (first, second)]
    masks = [_block(key, bytes(15) + b"\x01") for key in (first, second)]
    body = [bytes([number + 1]) * 16 for number in range(blocks)]
    # Each tag is linear in the last block: choose it so that both are equal.
    body[-1] = bytes(16)
    fixed = [
        _ghash(key, [aad.ljust(16, b"\0"), *body, lengths]) ^ int.from_bytes(mask) for key, mask in zip(h, masks, strict=True)
    ]
    squares = [_times(int.from_bytes(key), int.from_bytes(key)) for key in h]
    last = _times(fixed[0] ^ fixed[1], _inverse(squares[0] ^ squares[1]))
    body[-1] = last.to_bytes(16)
    tag = _ghash(h[0], [aad.ljust(16, b"\0"), *body, lengths]) ^ int.from_bytes(masks[0])
    return b"".join(body) + tag.to_bytes(16)


def _block(key: bytes, block: bytes) -> bytes:
    return Cipher(AES256(key), ECB()).encryptor().update(block)


def _ghash(h: bytes, blocks: list[bytes]) -> int:
    state = 0
    for block in blocks:
        state = _times(state ^ int.from_bytes(block), int.from_bytes(h))
    return state


def _times(left: int, right: int) -> int:
    """Multiplication in GCM's field (NIST SP 800-38D section 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = right >> 1 ^ (0xE1 << 120 if right & 1 else 0)
    return product


def _inverse(value: int) -> int:
    """value^(2^128 - 2)."""
    result, square = 1 << 127, value
    for _ in range(127):
        square = _times(square, square)
        result = _times(result, square)
    return result


def test_the_wrong_number_of_slices_is_our_own_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        gather({0: b"a", 1: b"b"}, 4, 3, 3)
    with pytest.raises(LocalProtocolError):
        gather({0: b"a", 1: b"b", 4: b"c"}, 4, 3, 3)


def test_unequal_fragments_are_the_senders_mistake() -> None:
    with pytest.raises(CryptoError):
        gather({0: b"aa", 1: b"b", 2: b"c"}, 4, 3, 3)
    with pytest.raises(CryptoError):
        gather({0: b"aa", 1: b"bb", 2: b"cc"}, 4, 3, 60)
