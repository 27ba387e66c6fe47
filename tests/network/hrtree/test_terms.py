"""Terms, byte for byte, and the bounds of what may be asked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from network.chain_records import DirectoryEntry
from network.codec import encode
from network.crypto import SigningKey, exchange_public
from network.hpke import OnionPrivate, Opener
from network.hrtree.delta import Refused, SignedKind, sign
from network.hrtree.fingerprint import ChunkPlan, Space
from network.hrtree.terms import (
    HeldTerms,
    Proposal,
    Terms,
    commitment,
    decode_terms,
    give,
    issue,
    plan_of,
    rank,
    take,
    terms_id,
)
from network.ids import node_id

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "forwarding_terms.json").read_text())
KEY = SigningKey(bytes(range(32)))
OWN = node_id(KEY.public)


def made(vector: dict[str, Any]) -> HeldTerms:
    proposal = Proposal(0, tuple(vector["lengths"]), vector["fixed"])
    return issue(vector["group"], vector["generation"], proposal, bytes.fromhex(vector["secret"]), OWN, KEY, vector["chain_id"])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    held = made(vector)
    assert held.signed.body.hex() == vector["body"]
    assert held.signed.signature.hex() == vector["signature"]
    assert commitment(held.secret).hex() == vector["commitment"]
    assert rank(vector["generation"], OWN).hex() == vector["rank"]
    assert terms_id([held]).hex() == vector["id"]
    plan = plan_of(held.terms, ChunkPlan())
    space = Space(vector["chain_id"], vector["group"], vector["generation"], plan=plan, secret=held.secret)
    assert space.id.hex() == vector["space_id"]


def test_a_secret_goes_to_whom_it_was_sealed_alone() -> None:
    onion = OnionPrivate(bytes([7]) * 32)
    receiver = DirectoryEntry(node_id=bytes(20), onion_key=exchange_public(onion.x25519))
    held = made(VECTORS[0])
    given = give(held, receiver, "chain")
    terms = decode_terms(given.terms)
    assert take(given, terms, KEY.public, bytes(20), Opener(onion), "chain") == held
    for own, opener in ((bytes([1]) * 20, Opener(onion)), (bytes(20), Opener(OnionPrivate(bytes([8]) * 32)))):
        with pytest.raises(Refused):
            take(given, terms, KEY.public, own, opener, "chain")


def test_terms_of_another_kind_or_shape_are_none() -> None:
    good = Terms("m", 1, OWN, (64, 64), 256, bytes(32))
    assert decode_terms(sign(SignedKind.TERMS, good, KEY, "chain")) == good
    for bad in (
        None,
        sign(SignedKind.SNAPSHOT, good, KEY, "chain"),
        sign(SignedKind.TERMS, Proposal(1), KEY, "chain"),
        sign(SignedKind.TERMS, Terms("m", 1, OWN, (15,), 256), KEY, "chain"),
    ):
        with pytest.raises(Refused) as refused:
            decode_terms(bad)
        assert refused.value.reason == "garbage"
    assert terms_id([]) == b""
    assert len(encode(good)) < 80
