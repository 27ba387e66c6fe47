"""Hashes and sign bytes against headers that a real CometBFT v0.38.25 signed, and the naive twin of its Merkle tree."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.light_headers import MOST_POWER, BlockId, Validator, ValidatorSet, header_hash, merkle_root
from network.light_json import signed_header
from network.proof import ProofRejected, root_from_aunts

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "comet_headers.json").read_text())
HEADERS = [signed_header(commit) for commit in VECTORS["commits"]]


def key(at: int) -> bytes:
    return bytes([at]) * 32


def test_the_vectors_hold_what_they_say() -> None:
    assert [signed.height for signed in HEADERS[:2]] == [1, 3]
    assert HEADERS[0].header.last_block_id == BlockId(b"", 0, b"")
    assert [place.flag for place in HEADERS[2].signatures] == [2, 2, 2, 1]
    assert all(header_hash(signed.header) == signed.block_id.hash for signed in HEADERS)


def test_a_set_is_in_comets_order_and_knows_its_power() -> None:
    held = ValidatorSet([Validator(key(1), 7), Validator(key(2), 20), Validator(key(3), 7)])
    assert [entry.power for entry in held.validators] == [20, 7, 7] and held.total_power == 34
    assert held.validators[1].address < held.validators[2].address
    assert held.hash == ValidatorSet(reversed(held.validators)).hash
    assert held.hash != ValidatorSet([*held.validators[:2], Validator(held.validators[2].public_key, 8)]).hash


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "nobody"),
        ([Validator(key(1), 1), Validator(key(1), 2)], "twice"),
        ([Validator(key(1), 1), Validator(key(2), 0)], "out of range"),
        ([Validator(key(1), 1), Validator(key(2), -1)], "out of range"),
        ([Validator(key(1), MOST_POWER), Validator(key(2), 1)], "out of range"),
    ],
)
def test_what_cannot_be_a_set_is_none(rows: list[Validator], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ValidatorSet(rows)


def test_the_empty_tree_is_the_hash_of_nothing() -> None:
    assert merkle_root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def aunts_of(leaves: list[bytes], index: int) -> list[bytes]:
    """The naive twin: aunts by splitting the list as the root does."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*aunts_of(leaves[:split], index), merkle_root(leaves[split:])]
    return [*aunts_of(leaves[split:], index - split), merkle_root(leaves[:split])]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=4), min_size=1, max_size=20), st.data())
def test_aunts_lead_to_the_root_from_every_leaf(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    aunts = aunts_of(leaves, index)
    assert root_from_aunts(merkle_root([leaves[index]]), index, len(leaves), aunts) == merkle_root(leaves)
    for wrong in (aunts[:-1], [*aunts, b"\0" * 32]):
        if wrong != aunts:
            with pytest.raises(ProofRejected):
                root_from_aunts(merkle_root([leaves[index]]), index, len(leaves), wrong)
