"""Transactions in Cosmos' shape, searches, and what is no transaction."""

from typing import Any

import pytest

from network.chain_tx import BODIES, TxKind, build_tx
from network.crypto import SigningKey, sha256
from network.proof import ProofRejected
from network.rest.refusal import Refusal
from network.rest.txs import found, search, tx_name, tx_response, tx_view

KEY = SigningKey(b"\x07" * 32)


@pytest.mark.parametrize("kind", list(TxKind))
def test_every_kind_is_told(kind: TxKind) -> None:
    view = tx_view(build_tx(kind, BODIES[kind](), key=KEY, chain_id="c", nonce=5))
    assert view["body"]["messages"][0]["@type"] == f"/planetserve.ledger.v1.{BODIES[kind].__name__}"
    assert view["auth_info"]["signer_infos"][0]["sequence"] == "5"


def test_what_cannot_be_read_keeps_its_bytes() -> None:
    message = tx_view(b"\xff\x00")["body"]["messages"][0]
    assert message == {"@type": "/planetserve.ledger.v1.Unreadable", "raw": "/wA="}


def test_a_result_is_told() -> None:
    events = [{"type": "message", "attributes": [{"key": "sender", "value": "ab", "index": True}, {"key": "x"}]}]
    told = tx_response(b"raw", 7, {"code": 5, "log": "stale", "codespace": "planetserve", "events": events}, "t")
    assert (told["txhash"], told["height"], told["code"], told["raw_log"]) == (sha256(b"raw").hex().upper(), "7", 5, "stale")
    assert told["events"][0]["attributes"][1] == {"key": "x", "value": "", "index": False}
    for wrong in ({"code": "x"}, {"events": [3]}, {"events": 3}):
        with pytest.raises(ProofRejected):
            tx_response(b"raw", 7, wrong, "t")


@pytest.mark.parametrize("wrong", [None, {}, {"txs": [{}], "total_count": "1"}, {"txs": [], "total_count": "x"}])
def test_what_is_no_search_result_is_refused(wrong: Any) -> None:
    with pytest.raises(ProofRejected):
        found(wrong)


def test_searches() -> None:
    assert search(["", "tx.height=5 "]) == "tx.height=5"
    assert search(["a.b='c'", "tx.height>1"]) == "a.b='c' AND tx.height>1"
    for wrong in ([], ["", ""], ["x" * 600]):
        with pytest.raises(Refusal):
            search(wrong)


@pytest.mark.parametrize("wrong", ["", "ab", "zz" * 32, "ab" * 33])
def test_hashes(wrong: str) -> None:
    assert tx_name("AB" * 32) == tx_name("0x" + "ab" * 32) == b"\xab" * 32
    with pytest.raises(Refusal):
        tx_name(wrong)
