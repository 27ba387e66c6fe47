"""Proofs of ledger values, as the real application behind a real CometBFT gave them, and every way to bend them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from network.chain_records import CURRENT_EPOCH_KEY, PARAMS_KEY, STORE_NAME, Params
from network.codec import decode, encode
from network.crypto import sha256
from network.light import check_step
from network.light_headers import LightBlock
from network.light_json import abci_value, genesis_trust, included_tx, proof_ops, signed_header
from network.proof import ABSENT, OPERATOR, ProofOp, ProofRejected, ValueOp, check_absence, check_value, root_from_aunts

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "ledger_answers.json").read_text())
SIGNED = signed_header(VECTORS["commit"])
GENESIS_TIME = VECTORS["commit"]["signed_header"]["header"]["time"]  # the capture has none; any earlier one will do
TRUST = genesis_trust(json.dumps({**VECTORS["genesis"], "genesis_time": GENESIS_TIME}).encode())
OPS = proof_ops(VECTORS["query"])
VALUE = abci_value(VECTORS["query"]).value or b""
APP_HASH = SIGNED.header.app_hash


def check(
    ops: Any = OPS, *, key: bytes = PARAMS_KEY, value: bytes = VALUE, app_hash: bytes = APP_HASH, store: str = STORE_NAME
) -> None:
    check_value(ops, store=store, key=key, value=value, app_hash=app_hash)


def bent(at: int, **changes: Any) -> tuple[ProofOp, ...]:
    """The operators with one Merkle proof changed."""
    value_op = decode(ValueOp, OPS[at].data)
    data = encode(replace(value_op, proof=replace(value_op.proof, **changes)))
    return tuple(replace(op, data=data) if number == at else op for number, op in enumerate(OPS))


def test_a_real_answer_is_proven_up_to_the_committees_signatures() -> None:
    block = LightBlock(SIGNED, TRUST.validator_set)
    check_step(TRUST.chain_id, TRUST.trusted, block, now=SIGNED.header.time.seconds + 1.0, trusting_period=60.0)
    assert SIGNED.height == abci_value(VECTORS["query"]).height + 1
    check()
    assert decode(Params, VALUE).epoch_blocks == 60


def test_an_honest_answer_for_another_key_is_refused() -> None:
    other = VECTORS["other_key"]
    value = abci_value(other).value or b""
    check(proof_ops(other), key=CURRENT_EPOCH_KEY, value=value)  # proves what it says, under the same header
    with pytest.raises(ProofRejected, match="another key"):
        check(proof_ops(other), value=value)


def flip(raw: bytes) -> bytes:
    return bytes([raw[0] ^ 1]) + raw[1:]


INNER = decode(ValueOp, OPS[0].data).proof
OUTER = decode(ValueOp, OPS[1].data).proof


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"value": VALUE + b"\0"}, "something else"),
        ({"value": b""}, "empty value"),
        ({"key": PARAMS_KEY + b"\0"}, "another key"),
        ({"store": "other"}, "another key"),
        ({"app_hash": flip(APP_HASH)}, "another app hash"),
        ({"ops": OPS[:1]}, "1 operators"),
        ({"ops": (*OPS, OPS[1])}, "3 operators"),
        ({"ops": OPS[::-1]}, "another key"),
        ({"ops": (replace(OPS[0], kind="ics23:smt"), OPS[1])}, "operator is"),
        ({"ops": (replace(OPS[0], kind=ABSENT), OPS[1])}, "operator is"),
        ({"ops": (replace(OPS[0], key=b"x"), OPS[1])}, "another key"),
        ({"ops": (replace(OPS[0], data=OPS[0].data[:-1]), OPS[1])}, "cannot be read"),
        ({"ops": (replace(OPS[0], data=encode(ValueOp(PARAMS_KEY))), OPS[1])}, "no proof"),
        ({"ops": bent(0, total=2**62 - 1)}, "depth 62"),
        ({"ops": bent(0, aunts=INNER.aunts[:-1])}, "depth 62"),
        ({"ops": bent(0, index=INNER.index ^ 1)}, "does not stand"),
        ({"ops": bent(0, leaf_hash=flip(INNER.leaf_hash))}, "something else"),
        ({"ops": bent(0, aunts=(flip(INNER.aunts[0]), *INNER.aunts[1:]))}, "root is not"),
        ({"ops": bent(0, aunts=(*INNER.aunts[:-1], flip(INNER.aunts[-1])))}, "root is not"),
        ({"ops": bent(1, total=2)}, "single store"),
        ({"ops": bent(1, aunts=(b"\0" * 32,))}, "single store"),
        ({"ops": bent(1, leaf_hash=flip(OUTER.leaf_hash))}, "root is not"),
    ],
)
def test_every_bent_proof_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ProofRejected, match=words):
        check(**arguments)


@pytest.mark.parametrize("at", range(62))
def test_no_aunt_is_free(at: int) -> None:
    aunts = list(INNER.aunts)
    aunts[at] = flip(aunts[at])
    with pytest.raises(ProofRejected):
        check(bent(0, aunts=tuple(aunts)))


def test_absence_is_proven_and_presence_is_not_absence() -> None:
    response = VECTORS["absent"]["result"]["response"]
    ops, key = proof_ops(response), abci_value(response).key
    assert abci_value(response).code == 1 and abci_value(response).value is None

    def absent(ops: Any, key: bytes, app_hash: bytes = APP_HASH) -> None:
        check_absence(ops, store=STORE_NAME, key=key, app_hash=app_hash)

    root = decode(ValueOp, ops[1].data).proof.leaf_hash
    absent(ops, key, root)
    for wrong in (
        lambda: absent(ops, key, flip(root)),
        lambda: absent(ops, key + b"x", root),
        lambda: absent(OPS, PARAMS_KEY),
        lambda: absent((replace(OPS[0], kind=ABSENT), OPS[1]), PARAMS_KEY),
        lambda: check((replace(ops[0], kind=OPERATOR), ops[1]), key=key, value=b"v", app_hash=root),
    ):
        with pytest.raises(ProofRejected):
            _run(wrong)


def _run(act: Callable[[], None]) -> None:
    act()


def test_a_transaction_is_in_its_block() -> None:
    found = included_tx(VECTORS["tx"]["result"])
    header = signed_header(VECTORS["tx_commit"]).header
    leaf = sha256(b"\0", sha256(found.raw))
    assert found.proof.total == 10 and len(found.proof.aunts) > 1
    assert root_from_aunts(leaf, found.proof.index, found.proof.total, found.proof.aunts) == header.data_hash
    assert root_from_aunts(flip(leaf), found.proof.index, found.proof.total, found.proof.aunts) != header.data_hash
