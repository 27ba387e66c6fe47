"""CometBFT's own light client accepts the ledger's proofs and refuses tampered ones; what it lets pass, ours refuses.

Both look through the same bending proxy at the same real chain.
"""

import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from network.aio.chain_client import ChainClient, ChainUnavailable, ProofRejected
from network.chain_records import CURRENT_EPOCH_KEY, PARAMS_KEY, group_key, validator_key
from network.codec import decode, encode
from network.ids import node_id
from network.proof import ValueOp

Answer = dict[str, Any]
Client = Callable[..., Awaitable[ChainClient]]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def flip(raw: bytes) -> bytes:
    return bytes([raw[0] ^ 1]) + raw[1:]


def bends_answers(change: Callable[[Answer], Answer]) -> Any:
    """A bend that changes the application's answer to a proven question."""

    async def bend(method: str, params: Answer, result: Any, ask: Any) -> Any:
        if method != "abci_query" or not params.get("prove"):
            return result
        return {"response": change(result["response"])}

    return bend


def with_op(answer: Answer, at: int, **changes: Any) -> Answer:
    ops = [{**op, **changes} if number == at else op for number, op in enumerate(answer["proofOps"]["ops"])]
    return {**answer, "proofOps": {"ops": ops}}


def with_proof(answer: Answer, at: int, **changes: Any) -> Answer:
    op = decode(ValueOp, base64.b64decode(answer["proofOps"]["ops"][at]["data"]))
    return with_op(answer, at, data=b64(encode(replace(op, proof=replace(op.proof, **changes)))))


def inner(answer: Answer) -> Any:
    return decode(ValueOp, base64.b64decode(answer["proofOps"]["ops"][0]["data"])).proof


def with_aunt(answer: Answer, at: int) -> Answer:
    aunts = list(inner(answer).aunts)
    aunts[at] = flip(aunts[at])
    return with_proof(answer, 0, aunts=tuple(aunts))


def with_ops(answer: Answer, choose: Callable[[list[Any]], list[Any]]) -> Answer:
    return {**answer, "proofOps": {"ops": choose(answer["proofOps"]["ops"])}}


# What is bent, then why the stock client refuses it, and why ours does.
REFUSED_BY_BOTH: dict[str, tuple[Callable[[Answer], Answer], str, str]] = {
    "value": (lambda a: {**a, "value": b64(flip(base64.b64decode(a["value"])))}, "leaf hash mismatch", "holds something else"),
    "no value": (lambda a: {**a, "value": None}, "verify absence proof", "another key than the one asked for, or empty"),
    "absence": (
        lambda a: {**a, "code": 1, "value": None},
        "err response code: 1",
        "operator is 'simple:v', not 'planetserve:absent'",
    ),
    "leaf": (lambda a: with_proof(a, 0, leaf_hash=flip(inner(a).leaf_hash)), "leaf hash mismatch", "holds something else"),
    "lowest aunt": (lambda a: with_aunt(a, 0), "leaf hash mismatch", "root is not the one"),
    "highest aunt": (lambda a: with_aunt(a, -1), "leaf hash mismatch", "root is not the one"),
    "aunt dropped": (lambda a: with_proof(a, 0, aunts=inner(a).aunts[1:]), "at least one inner hash", "not of depth 62"),
    "index": (lambda a: with_proof(a, 0, index=inner(a).index ^ 1), "leaf hash mismatch", "does not stand where"),
    "store leaf": (lambda a: with_proof(a, 1, leaf_hash=b"\1" * 32), "leaf hash mismatch", "root is not the one"),
    "operator dropped": (lambda a: with_ops(a, lambda ops: ops[:1]), "root hash is invalid", "1 operators"),
    "operators swapped": (lambda a: with_ops(a, lambda ops: ops[::-1]), "key mismatch", "another key"),
    "operator twice": (lambda a: with_ops(a, lambda ops: [ops[0], *ops]), "key mismatch", "3 operators"),
    "no operators": (lambda a: {**a, "proofOps": None}, "no proof ops", "0 operators"),
    "operator type": (lambda a: with_op(a, 0, type="simple:w"), "unrecognized proof type", "operator is 'simple:w'"),
    "operator key": (lambda a: with_op(a, 0, key=b64(b"other")), "key mismatch", "another key"),
    "store name": (lambda a: with_op(a, 1, key=b64(b"other")), "key mismatch", "another key"),
    "height never reached": (
        lambda a: {**a, "height": str(int(a["height"]) + 10_000)},
        "height requested is too high",
        "cannot prove an answer yet",
    ),
}


async def test_the_stock_client_accepts_every_kind_of_row(bender: Any, stock: Any, validator: Any) -> None:
    for key in (PARAMS_KEY, CURRENT_EPOCH_KEY, group_key("tiny"), validator_key(node_id(validator.key.public))):
        verified = await stock.query(key)
        direct = await bender.ask("abci_query", path="/store/main/key", data=key.hex(), height=verified["height"], prove=False)
        assert verified["value"] and verified["value"] == direct["response"]["value"], verified
    height = await bender.latest() - 5
    earlier = await stock.query(PARAMS_KEY, height)
    assert earlier["height"] == str(height) and earlier["value"]


async def test_both_refuse_what_is_tampered_with(bender: Any, stock: Any, client: Client) -> None:
    ours = await client()
    for name, (change, stocks_reason, our_reason) in REFUSED_BY_BOTH.items():
        bender.bend = bends_answers(change)
        assert stocks_reason in (await stock.query(PARAMS_KEY)).get("error", {}).get("data", ""), name
        with pytest.raises((ProofRejected, ChainUnavailable), match=re.escape(our_reason)):
            await ours.read(PARAMS_KEY)


async def passes_stock_and_not_ours(bender: Any, stock: Any, ours: ChainClient, bend: Any, words: str, **asked: int) -> None:
    bender.bend = bend
    believed = await stock.query(PARAMS_KEY, asked.get("height", 0))
    assert "error" not in believed and believed["value"], believed
    with pytest.raises(ProofRejected, match=words):
        await ours.read(PARAMS_KEY, **asked)


async def test_another_key_passes_the_stock_client_and_not_ours(bender: Any, stock: Any, client: Client) -> None:
    async def other_key(method: str, params: Answer, result: Any, ask: Any) -> Any:
        if method != "abci_query":
            return result
        return await ask("abci_query", **{**params, "data": CURRENT_EPOCH_KEY.hex(), "prove": True})

    await passes_stock_and_not_ours(bender, stock, await client(), other_key, "another key")


async def test_a_stale_answer_passes_the_stock_client_and_not_ours(bender: Any, stock: Any, client: Client) -> None:
    ours = await client()
    proven = await ours.read(PARAMS_KEY)

    async def stale(method: str, params: Answer, result: Any, ask: Any) -> Any:
        asked = {**params, "height": str(proven.height - 3), "prove": True}
        return await ask("abci_query", **asked) if method == "abci_query" else result

    words = f"of height {proven.height - 3}, but {proven.height} was proven before"
    await passes_stock_and_not_ours(bender, stock, ours, stale, words)


async def test_an_altered_height_with_the_same_root_passes_the_stock_client_and_not_ours(
    bender: Any, stock: Any, client: Client
) -> None:
    height = await bender.latest() - 3
    hashes = [(await bender.ask("header", height=str(at)))["header"]["app_hash"] for at in (height, height + 1)]
    assert hashes[0] == hashes[1]  # nothing happened between, so both proofs lead to the same root
    altered = bends_answers(lambda answer: {**answer, "height": str(height - 1)})
    words = f"of height {height - 1}, not of {height}"
    await passes_stock_and_not_ours(bender, stock, await client(), altered, words, height=height)


async def test_a_tree_of_another_size_passes_the_stock_client_and_not_ours(bender: Any, stock: Any, client: Client) -> None:
    smaller = bends_answers(lambda answer: with_proof(answer, 0, total=2**62 - 1))
    await passes_stock_and_not_ours(bender, stock, await client(), smaller, "not of depth 62")


async def test_another_inner_key_passes_the_stock_client_and_not_ours(bender: Any, stock: Any, client: Client) -> None:
    def renamed(answer: Answer) -> Answer:
        op = decode(ValueOp, base64.b64decode(answer["proofOps"]["ops"][0]["data"]))
        return with_op(answer, 0, data=b64(encode(replace(op, key=b"another"))))

    await passes_stock_and_not_ours(bender, stock, await client(), bends_answers(renamed), "another key")


async def test_absence_is_proven_to_ours_alone(bender: Any, stock: Any, client: Client) -> None:
    assert "error" in await stock.query(b"\x02" + b"\x07" * 20)
    proven = await (await client()).read(b"\x02" + b"\x07" * 20)
    assert proven.value is None and proven.verified
