"""S-IDA: any k of n recover, fewer than k shares say nothing about the key, and a changed slice is noticed."""

import random
from itertools import combinations

import numpy as np
import pytest
import zfec
from hypothesis import given, settings
from hypothesis import strategies as st

from network.errors import CryptoError, LocalProtocolError
from network.geometry import COMMITMENT, TAG
from network.sida import Slice, combine, disperse, gather, recover_key, share_key, split

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


def test_two_shares_of_three_are_exactly_uniform() -> None:
    """For every key byte tried, the 65,536 choices of the random blocks give every pair of share bytes once."""
    grid = np.arange(65536, dtype=np.uint32)
    first, second = (grid >> 8).astype(np.uint8).tobytes(), (grid & 255).astype(np.uint8).tobytes()
    for key_byte in (0, 1, 0x53, 255):
        shares = zfec.Encoder(3, 7).encode([bytes([key_byte]) * 65536, first, second], (3, 4, 5, 6))
        for left, right in combinations(shares, 2):
            pairs = np.frombuffer(left, np.uint8).astype(np.uint32) << 8 | np.frombuffer(right, np.uint8)
            assert len(np.unique(pairs)) == 65536


def test_shares_come_from_the_rng_and_never_contain_the_key() -> None:
    key = bytes(range(32))
    asked: list[int] = []

    def rng(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    shares = share_key(key, 4, 3, rng)
    assert asked == [32, 32]
    assert len(shares) == 4
    assert recover_key({0: shares[0], 2: shares[2], 3: shares[3]}, 4, 3) == key
    drawn = random.Random(2).randbytes
    assert key not in share_key(key, 4, 3, drawn)


def test_parity_vector() -> None:
    assert disperse(b"\x01\x02\x03\x04\x05", 4, 3) == [b"\x01\x02", b"\x03\x04", b"\x05\x00", b"\x07\x06"]
    assert gather({0: b"\x01\x02", 2: b"\x05\x00", 3: b"\x07\x06"}, 4, 3, 5) == b"\x01\x02\x03\x04\x05"


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
