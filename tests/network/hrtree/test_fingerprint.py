"""Fingerprints: 8 bits a chunk, chained, keyed, and the same on every node that agrees on the space."""

import json
import struct
from hashlib import blake2b
from itertools import combinations
from operator import eq
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from network.hrtree.fingerprint import MAX_DEPTH, MAX_TOKENS, ChunkPlan, Space, Unit, generation, pack_tokens
from network.hrtree.multilinear import key_stream

VECTORS = Path(__file__).parents[2] / "vectors" / "forwarding_fingerprints.json"
SPACE = Space("chain", "m", 0, plan=ChunkPlan((3, 2), 4))
tokens = st.lists(st.integers(0, 2**32 - 1), max_size=60)


@pytest.mark.parametrize("case", json.loads(VECTORS.read_text()), ids=lambda case: case["name"])
def test_vectors(case: dict[str, Any]) -> None:
    """Freezes key derivation, packing, sums and ciphers: a change here splits every group in two."""
    plan = ChunkPlan(tuple(case["plan"]["lengths"]), case["plan"]["fixed"])
    secret = bytes.fromhex(case["secret"])
    space = Space(case["chain_id"], case["group"], case["generation"], Unit[case["unit"]], plan, secret)
    assert space.id.hex() == case["space_id"]
    data = case["text"].encode() if "text" in case else pack_tokens(range(case["tokens"]))
    assert space.path(data, bytes.fromhex(case["salt"])).hex() == case["path"]


@given(tokens, st.binary(max_size=32))
def test_a_symbol_is_the_cipher_of_the_sum_of_the_whole_prefix(prompt: list[int], salt: bytes) -> None:
    stream = key_stream(blake2b(key=SPACE.key, digest_size=32, person=b"ps-key-words").digest())
    words = struct.unpack("<64Q", stream.update(bytes(512)))
    key = blake2b(salt, key=SPACE.key, digest_size=32, person=b"ps-symbols").digest()
    expected = []
    for number, end in enumerate(SPACE.plan.ends(len(prompt))):
        total = sum(word * token for word, token in zip(words, prompt[:end], strict=False)) % 2**64
        block = struct.pack("<QQ", total, number)
        expected.append(Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)[0])
    assert list(SPACE.path(pack_tokens(prompt), salt)) == expected


def test_a_salt_parts_prompts_and_its_length_is_bounded() -> None:
    data = pack_tokens(range(400))
    paths = [SPACE.path(data, salt) for salt in (b"", b"a", b"b", bytes(32))]
    assert len(set(paths)) == 4
    assert max(sum(map(eq, one, two)) for one, two in combinations(paths, 2)) <= 5
    assert SPACE.path(data, b"a") == paths[1]
    with pytest.raises(ValueError, match="at most 32"):
        SPACE.path(data, bytes(33))


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
        Space("chain", "m", 0, secret=bytes(32)),
        Space("chain", "m", 0, secret=bytes(31) + b"1"),
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


def test_a_tail_that_is_no_whole_token_is_ignored() -> None:
    space = Space("chain", "m", 0, Unit.TEXT, ChunkPlan((), 2))
    assert space.path(b"") == space.path(b"12345") == b""
    assert len(space.path(b"12345678" * 2 + b"123")) == 2


def test_a_prompt_without_end_has_a_bounded_path() -> None:
    assert len(Space("chain", "m", 0, plan=ChunkPlan((), 1)).path(bytes(4 * MAX_DEPTH + 400))) == MAX_DEPTH
    assert len(Space("chain", "m", 0, plan=ChunkPlan((), MAX_TOKENS)).path(bytes(4 * MAX_TOKENS + 400))) == 1


def test_a_secret_is_shown_nowhere_and_has_one_length() -> None:
    assert "5a5a" not in repr(Space("chain", "m", 0, secret=b"Z" * 32)).replace("ZZ", "5a5a")
    with pytest.raises(ValueError, match="32 bytes"):
        Space("chain", "m", 0, secret=b"short")


def test_generations_follow_epochs() -> None:
    assert [generation(epoch) for epoch in (0, 59, 60, 120)] == [0, 0, 1, 2]


@pytest.mark.parametrize("bad", [[-1], [2**32], ["x"], [1.5]])
def test_ids_that_are_no_u32_are_refused(bad: list[int]) -> None:
    with pytest.raises(ValueError, match="32 bits"):
        pack_tokens(bad)


def test_a_plan_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        ChunkPlan((0,))
