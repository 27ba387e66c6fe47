"""The light client against headers that a real CometBFT v0.38.25 signed, and against every way to tamper with them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.light import (
    FLAG_COMMIT,
    BlockId,
    GenesisTrust,
    SignedHeader,
    Timestamp,
    TrustedValidator,
    ValidatorSetChanged,
    check_header,
    header_hash,
    merkle_root,
)
from network.light_json import genesis_trust, signed_header
from network.proof import ProofRejected, root_from_aunts

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "comet_headers.json").read_text())
TRUST = genesis_trust(json.dumps(VECTORS["genesis"]).encode())
HEADERS = [signed_header(commit) for commit in VECTORS["commits"]]


def check(signed: SignedHeader, trust: GenesisTrust = TRUST, *, later: float = 1.0, max_age: float = 60.0) -> None:
    check_header(trust, signed, now=signed.header.time.seconds + later, max_age=max_age)


def with_header(signed: SignedHeader, **changes: Any) -> SignedHeader:
    """The header changed, and the commit's block id made to match, as a forger would."""
    header = replace(signed.header, **changes)
    return replace(signed, header=header, height=header.height, block_id=replace(signed.block_id, hash=header_hash(header)))


@pytest.mark.parametrize("signed", HEADERS, ids=lambda signed: f"height-{signed.height}")
def test_real_headers_verify(signed: SignedHeader) -> None:
    check(signed)


def test_the_vectors_hold_what_they_say() -> None:
    assert [signed.height for signed in HEADERS[:2]] == [1, 3]
    assert HEADERS[0].header.last_block_id == BlockId(b"", 0, b"")
    assert [place.flag for place in HEADERS[2].signatures] == [2, 2, 2, 1]
    assert [entry.power for entry in TRUST.validators] == [20, 10, 10, 7]


def flip(raw: bytes) -> bytes:
    return bytes([raw[0] ^ 1]) + raw[1:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: replace(s, header=replace(s.header, app_hash=flip(s.header.app_hash))), "another header"),
        (lambda s: with_header(s, app_hash=flip(s.header.app_hash)), "does not verify"),
        (lambda s: with_header(s, height=s.height + 1), "does not verify"),
        (lambda s: with_header(s, time=Timestamp(s.header.time.seconds, 1)), "does not verify"),
        (lambda s: with_header(s, chain_id="vectors-2"), "of chain 'vectors-2'"),
        (lambda s: replace(s, height=s.height + 1), "another header"),
        (lambda s: replace(s, round=1), "does not verify"),
        (lambda s: replace(s, block_id=replace(s.block_id, parts_hash=b"\0" * 32)), "does not verify"),
        (lambda s: replace(s, signatures=s.signatures[:3]), "places for"),
        (lambda s: replace(s, signatures=(*s.signatures[1:], s.signatures[0])), "another validator's place"),
        (lambda s: replace(s, signatures=(s.signatures[0],) * 4), "another validator's place"),
    ],
)
def test_tampering_is_refused(change: Callable[[SignedHeader], SignedHeader], words: str) -> None:
    with pytest.raises(ProofRejected, match=words):
        check(change(HEADERS[1]))


def test_two_thirds_of_the_power_are_not_enough() -> None:
    keep = {0: 20, 1: 10}  # 30 of 47 is below 2/3
    places = tuple(p if at in keep else replace(p, flag=1) for at, p in enumerate(HEADERS[1].signatures))
    with pytest.raises(ProofRejected, match="only 30 of 47"):
        check(replace(HEADERS[1], signatures=places))


def test_a_vote_for_nil_does_not_count() -> None:
    places = tuple(replace(place, flag=3) for place in HEADERS[1].signatures)
    with pytest.raises(ProofRejected, match="only 0 of 47"):
        check(replace(HEADERS[1], signatures=places))


def test_another_validator_set_is_refused_with_its_own_error() -> None:
    stranger = GenesisTrust(TRUST.chain_id, 1, [TrustedValidator(bytes([at]) * 32, 10) for at in range(4)])
    with pytest.raises(ValidatorSetChanged, match="genesis"):
        check(HEADERS[1], stranger)
    heavier = GenesisTrust(TRUST.chain_id, 1, [replace(entry, power=entry.power + 1) for entry in TRUST.validators])
    with pytest.raises(ValidatorSetChanged):
        check(HEADERS[1], heavier)


def test_stale_and_future_headers_are_refused() -> None:
    check(HEADERS[1], later=60.0)
    with pytest.raises(ProofRejected, match="61 s old"):
        check(HEADERS[1], later=61.0)
    check(HEADERS[1], later=-10.0)
    with pytest.raises(ProofRejected, match="in the future"):
        check(HEADERS[1], later=-11.0)


@given(st.integers(0, 3), st.integers(0, 511))
def test_no_bit_of_a_signature_is_free(at: int, bit: int) -> None:
    place = HEADERS[2].signatures[at]
    if place.flag != FLAG_COMMIT:
        return
    raw = bytearray(place.signature)
    raw[bit // 8] ^= 1 << bit % 8
    places = list(HEADERS[2].signatures)
    places[at] = replace(place, signature=bytes(raw))
    with pytest.raises(ProofRejected, match="does not verify"):
        check(replace(HEADERS[2], signatures=tuple(places)))


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


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=20), st.data())
def test_aunts_lead_to_the_root_from_every_leaf(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    aunts = aunts_of(leaves, index)
    assert root_from_aunts(merkle_root([leaves[index]]), index, len(leaves), aunts) == merkle_root(leaves)
    for wrong in (aunts[:-1], [*aunts, b"\0" * 32]):
        if wrong != aunts:
            with pytest.raises(ProofRejected):
                root_from_aunts(merkle_root([leaves[index]]), index, len(leaves), wrong)


def test_a_genesis_without_validators_trusts_nobody() -> None:
    with pytest.raises(ValueError, match="nobody"):
        GenesisTrust("c", 1, [])
