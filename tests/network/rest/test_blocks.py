"""Blocks in Cosmos' shapes, and bound to their header: a real block of four validators of which one did not sign."""

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from network.light_json import light_block
from network.proof import ProofRejected
from network.rest.blocks import binds, block_view, node_info, transactions

RECORDED = json.loads((Path(__file__).parents[2] / "vectors" / "comet_block.json").read_text())

LIGHT = light_block(
    {
        "signed_header": {
            "header": RECORDED["header"]["header"],
            "commit": {**RECORDED["block"]["block"]["last_commit"], "block_id": RECORDED["block"]["block_id"]},
        },
        "validator_set": RECORDED["validators"],
    }
)


@pytest.fixture
def block() -> Any:
    return copy.deepcopy(RECORDED["block"])


def test_the_shape_is_cosmos(block: Any) -> None:
    view = block_view(block)
    assert view["block"]["header"]["proposer_address"] == _b64(block["block"]["header"]["proposer_address"])
    signatures = view["block"]["last_commit"]["signatures"]
    flags = [row["block_id_flag"] for row in signatures]
    assert sorted(flags) == ["BLOCK_ID_FLAG_ABSENT"] + ["BLOCK_ID_FLAG_COMMIT"] * 3
    assert next(row for row in signatures if "ABSENT" in row["block_id_flag"])["validator_address"] == ""
    assert view["block"]["data"]["txs"] == block["block"]["data"]["txs"] and len(transactions(block)) == 3
    assert set(view["block"]["header"]["last_block_id"]["part_set_header"]) == {"total", "hash"}


def test_an_honest_block_is_bound(block: Any) -> None:
    assert binds(LIGHT, block)


BENDS: dict[str, Callable[[Any], Any]] = {
    "a transaction is missing": lambda b: b["data"]["txs"].pop(),
    "a transaction is doubled": lambda b: b["data"]["txs"].append(b["data"]["txs"][0]),
    "the order is another": lambda b: b["data"]["txs"].reverse(),
    "a signature is another's": lambda b: _signed(b).update(signature=_b64("00" * 64)),
    "a signature's time is later": lambda b: _signed(b).update(timestamp="2030-01-01T00:00:00Z"),
    "an address is another's": lambda b: _signed(b).update(validator_address="AB" * 20),
    "a flag is another": lambda b: _signed(b).update(block_id_flag=3),
    "a place is missing": lambda b: b["last_commit"]["signatures"].pop(),
    "the height is another": lambda b: b["header"].update(height="1"),
    "the app hash is another": lambda b: b["header"].update(app_hash="00" * 32),
    "the proposer is another": lambda b: b["header"].update(proposer_address="00" * 20),
    "the time is another": lambda b: b["header"].update(time="2030-01-01T00:00:00Z"),
    "the commit is of another height": lambda b: b["last_commit"].update(height="1"),
    "the commit is of another block": lambda b: b["last_commit"]["block_id"].update(hash="00" * 32),
    "the commit is of another round": lambda b: b["last_commit"].update(round=77),
    "there is no commit": lambda b: b.pop("last_commit"),
    "there is no data": lambda b: b.pop("data"),
    "the transactions are no base64": lambda b: b["data"].update(txs=["%"]),
}


@pytest.mark.parametrize("bend", list(BENDS))
def test_a_bent_block_is_refused(block: Any, bend: str) -> None:
    BENDS[bend](block["block"])
    assert block != RECORDED["block"]
    with pytest.raises(ProofRejected):
        binds(LIGHT, block)


@pytest.mark.parametrize("bend", [{"hash": "00" * 32}, {"parts": {"total": 9, "hash": "00" * 32}}, {"parts": None}])
def test_a_bent_block_id_is_refused(block: Any, bend: dict[str, Any]) -> None:
    block["block_id"] |= bend
    with pytest.raises(ProofRejected):
        binds(LIGHT, block)


def test_evidence_is_not_vouched_for(block: Any) -> None:
    block["block"]["evidence"]["evidence"] = [{"type": "tendermint/DuplicateVoteEvidence", "value": {}}]
    assert not binds(LIGHT, block)


@pytest.mark.parametrize("wrong", [None, [], {}, {"block": None}, {"block": {"header": {}}, "block_id": 3}])
def test_what_is_no_block_is_refused(wrong: Any) -> None:
    for read in (block_view, transactions, lambda raw: binds(LIGHT, raw), lambda raw: node_info(raw, "1")):
        with pytest.raises(ProofRejected):
            read(wrong)


def _signed(block: Any) -> Any:
    return next(row for row in block["last_commit"]["signatures"] if row["block_id_flag"] == 2)


def _b64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()
