"""Fingerprints: 8 bits a chunk, chained, keyed, and the same on every node that agrees on the space."""

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.fingerprint import ChunkPlan, Space, Unit, generation, pack_tokens

SPACE = Space("chain", "m", 0, plan=ChunkPlan((3, 2), 4))
tokens = st.lists(st.integers(0, 2**32 - 1), max_size=60)


def test_vector() -> None:
    """Freezes key derivation, packing and chaining: a change here splits every group in two."""
    space = Space("planetserve-localnet", "smollm2-135m-instruct", 7)
    assert space.key.hex() == "addcd35d5b5e5d21db350eeb96a7e71ce0a535dcda0516a0739425bbc3c971d4"
    assert space.id.hex() == "f05aadf7f8e2de40"
    assert space.path(pack_tokens(list(range(300)))).hex() == "3eb3943e"


@given(tokens)
def test_a_symbol_is_the_keyed_hash_of_the_whole_prefix(prompt: list[int]) -> None:
    data = pack_tokens(prompt)
    ends = list(SPACE.plan.ends(len(prompt)))
    expected = bytes(blake2b(data[: end * 4], digest_size=8, key=SPACE.key).digest()[0] for end in ends)
    assert SPACE.path(data) == expected


@given(tokens, tokens, tokens)
def test_equal_prefixes_share_symbols_and_extensions_keep_them(head: list[int], one: list[int], two: list[int]) -> None:
    shared = len(SPACE.path(pack_tokens(head)))
    assert SPACE.path(pack_tokens(head + one))[:shared] == SPACE.path(pack_tokens(head + two))[:shared]


def test_a_changed_first_token_changes_every_later_symbol() -> None:
    """Chained: unlike prompts do not meet again although all later chunks are equal (8 bits: a few may coincide)."""
    one = SPACE.path(pack_tokens([1] + [9] * 400))
    two = SPACE.path(pack_tokens([2] + [9] * 400))
    equal = sum(a == b for a, b in zip(one, two, strict=True))
    assert len(one) == 101
    assert equal <= 5


def test_every_field_of_a_space_changes_its_key() -> None:
    spaces = [
        Space("chain", "m", 0),
        Space("chain2", "m", 0),
        Space("chain", "m2", 0),
        Space("chain", "m", 1),
        Space("chain", "m", 0, Unit.TEXT),
        Space("chain", "m", 0, plan=ChunkPlan((64,))),
        Space("chai", "nm", 0),
    ]
    assert len({space.key for space in spaces}) == len({space.id for space in spaces}) == len(spaces)


@given(st.lists(st.integers(1, 9), max_size=5), st.integers(1, 9), st.integers(0, 200))
def test_plan_counts_both_ways(lengths: list[int], fixed: int, size: int) -> None:
    plan = ChunkPlan(tuple(lengths), fixed)
    ends = list(plan.ends(size))
    assert plan.depth(size) == len(ends)
    assert [plan.tokens(depth) for depth in range(1, len(ends) + 1)] == ends
    assert ends == sorted(set(ends))
    assert size < plan.tokens(len(ends) + 1)


def test_no_depth_cap_and_a_short_prompt_has_no_symbol() -> None:
    space = Space("chain", "m", 0)
    assert space.path(pack_tokens([1] * 63)) == b""
    assert len(space.path(pack_tokens([1] * 32_768))) == 152
    assert len(space.path(pack_tokens([1] * 131_072))) == 536


def test_text_is_cut_every_four_bytes_a_token() -> None:
    space = Space("chain", "m", 0, Unit.TEXT)
    assert len(space.path(("é" * 128).encode())) == 1


def test_generations_follow_epochs() -> None:
    assert [generation(epoch) for epoch in (0, 59, 60, 120)] == [0, 0, 1, 2]


@pytest.mark.parametrize("bad", [[-1], [2**32], ["x"], [1.5]])
def test_ids_that_are_no_u32_are_refused(bad: list[int]) -> None:
    with pytest.raises(ValueError, match="32 bits"):
        pack_tokens(bad)


def test_a_plan_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        ChunkPlan((0,))
