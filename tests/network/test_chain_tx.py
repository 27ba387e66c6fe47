"""The envelope of transactions: signed for one chain, one kind, one nonce; any alteration breaks it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.chain_tx import (
    BODIES,
    MAX_TX_BYTES,
    Challenge,
    RetireNode,
    ScoreSheet,
    SignedTx,
    TxKind,
    UpdateNode,
    build_tx,
    challenge_hash,
    decode_tx,
    sheet_hash,
    verify_tx,
)
from network.codec import decode
from network.crypto import SigningKey
from network.errors import DecodeError

KEY = SigningKey(bytes(range(32)))


def update() -> SignedTx:
    raw = build_tx(TxKind.UPDATE_NODE, UpdateNode(address="127.0.0.1:1"), key=KEY, chain_id="chain", nonce=9)
    return decode_tx(raw)


def test_a_built_transaction_verifies_and_carries_its_body() -> None:
    tx = update()
    assert verify_tx(tx, "chain")
    assert decode(BODIES[TxKind(tx.kind)], tx.body) == UpdateNode(address="127.0.0.1:1")


def test_kinds_are_permanent() -> None:
    assert [kind.value for kind in TxKind] == list(range(1, 12))
    assert set(BODIES) == set(TxKind)


def test_an_empty_body_travels() -> None:
    tx = decode_tx(build_tx(TxKind.RETIRE_NODE, RetireNode(), key=KEY, chain_id="chain", nonce=1))
    assert verify_tx(tx, "chain") and decode(RetireNode, tx.body) == RetireNode()


@pytest.mark.parametrize(
    "altered",
    [
        replace(update(), kind=TxKind.RETIRE_NODE),
        replace(update(), nonce=10),
        replace(update(), body=b""),
        replace(update(), signer=SigningKey(bytes(32)).public),
        replace(update(), signature=bytes(64)),
    ],
)
def test_an_altered_envelope_does_not_verify(altered: SignedTx) -> None:
    assert not verify_tx(altered, "chain")


def test_a_transaction_of_another_chain_does_not_verify() -> None:
    assert not verify_tx(update(), "another")


@given(st.binary(max_size=300))
def test_garbage_is_a_decode_error(raw: bytes) -> None:
    try:
        tx = decode_tx(raw)
    except DecodeError:
        return
    assert not verify_tx(tx, "chain")


def test_an_oversized_body_cannot_be_built() -> None:
    with pytest.raises(ValueError):
        build_tx(TxKind.UPDATE_NODE, UpdateNode(address="x" * (MAX_TX_BYTES + 1)), key=KEY, chain_id="chain", nonce=1)


def test_commitments_bind_every_field() -> None:
    challenge = Challenge(1, bytes(20), 0, bytes([1] * 32), None, b"{}", bytes([2] * 32))
    hashes = {
        challenge_hash(c)
        for c in (
            challenge,
            replace(challenge, epoch=2),
            replace(challenge, slot=1),
            replace(challenge, nonce=bytes(32)),
            replace(challenge, body=b"{ }"),
            replace(challenge, salt=bytes(32)),
        )
    }
    assert len(hashes) == 6
    sheet = ScoreSheet(1, bytes(20), (), bytes([1] * 32))
    assert sheet_hash(sheet) != sheet_hash(replace(sheet, verifier=bytes([1] * 20)))
