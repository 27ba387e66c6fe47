"""Keyed prefix sums: with numpy and without, the same blocks."""

import importlib.util
import sys
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.hrtree import multilinear
from network.hrtree.multilinear import FIRST_WORDS, SCRATCH_WORDS, ArraySums, PlainSums

KEY = bytes(range(32))


@given(st.binary(max_size=400), st.sets(st.integers(1, 100), max_size=20))
def test_both_forms_agree(data: bytes, cuts: set[int]) -> None:
    ends = memoryview(array("q", sorted(cut for cut in cuts if cut * 4 <= len(data))))
    assert ArraySums(KEY).blocks(data, ends) == PlainSums(KEY).blocks(data, ends)


def test_both_forms_agree_where_key_words_are_drawn_again_and_sums_wrap() -> None:
    data = b"\xff" * 4 * (SCRATCH_WORDS + 5)
    plain, arrays = PlainSums(KEY), ArraySums(KEY)
    for length in (3, FIRST_WORDS + 1, SCRATCH_WORDS, SCRATCH_WORDS + 5, 5):
        ends = [1, length]
        assert arrays.blocks(data, ends) == plain.blocks(data, ends)


def test_blocks_are_sum_and_number_little_endian() -> None:
    words = multilinear.key_stream(KEY).update(bytes(16))
    total = (int.from_bytes(words[:8], "little") * 5 + int.from_bytes(words[8:], "little") * 7) % 2**64
    expected = total.to_bytes(8, "little") + bytes(8)
    assert PlainSums(KEY).blocks(b"\5\0\0\0\7\0\0\0", [2]) == expected


def test_without_numpy_the_plain_form_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert multilinear.Sums is ArraySums
    monkeypatch.setitem(sys.modules, "numpy", None)
    spec = importlib.util.find_spec("network.hrtree.multilinear")
    assert spec is not None and spec.loader is not None
    bare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bare)
    assert bare.Sums is bare.PlainSums
    assert bare.Sums(KEY).blocks(bytes(8), [2]) == multilinear.Sums(KEY).blocks(bytes(8), [2])
