"""F20: an RPC server that lies, between our light client and a real node: every lie is refused, and an honest server helps.

The lies of `test_stock_proxy.py` are about answers; these are about headers, commits, validators and the past.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from network.aio.chain_client import ChainClient, ProofRejected
from network.chain_records import PARAMS_KEY
from network.light import GenesisTrust

Answer = dict[str, Any]
Client = Callable[..., Awaitable[ChainClient]]


def header(**changes: Any) -> Callable[[Answer], Answer]:
    return lambda row: {**row, "header": {**row["header"], **changes}}


def commit(**changes: Any) -> Callable[[Answer], Answer]:
    return lambda row: {**row, "commit": {**row["commit"], **changes}}


def place(**changes: Any) -> Callable[[Answer], Answer]:
    return lambda row: commit(signatures=[{**each, **changes} for each in row["commit"]["signatures"]])(row)


LIES: dict[str, tuple[Callable[[Answer], Answer], str]] = {
    "app hash": (header(app_hash="66" * 32), "commit is for another header"),
    "time": (header(time="2020-01-01T00:00:00Z"), "commit is for another header"),
    "next validators": (header(next_validators_hash="66" * 32), "commit is for another header"),
    "chain id": (header(chain_id="elsewhere"), "of chain 'elsewhere'"),
    "validators": (header(validators_hash="66" * 32), "not the set that its header names"),
    "signature": (place(signature=base64.b64encode(b"\1" * 64).decode()), "does not verify"),
    "time of a vote": (place(timestamp="2026-01-01T00:00:00Z"), "does not verify"),
    "votes for nil": (place(block_id_flag=3), "only 0 of 10"),
    "no votes": (commit(signatures=[]), "0 places for 1"),
    "another's vote": (place(validator_address="66" * 20), "another validator's place"),
    "round": (commit(round=1), "does not verify"),
    "height": (commit(height="1"), "asked for the header|another header"),
    "no commit": (lambda row: {"header": row["header"]}, "not a signed header"),
    "number beyond int64": (header(height=str(2**63)), "not a signed header"),
    "half a character": (header(chain_id="\ud800"), "not a signed header"),
}


def about(method_: str, change: Callable[[Any], Any]) -> Any:
    async def bend(method: str, params: Answer, result: Any, ask: Any) -> Any:
        return change(result) if method == method_ else result

    return bend


async def test_every_lie_about_a_header_is_refused(bender: Any, client: Client) -> None:
    for name, (lie, words) in LIES.items():
        ours = await client()

        def lied(result: Answer, lie: Callable[[Answer], Answer] = lie) -> Answer:
            return {**result, "signed_header": lie(result["signed_header"])}

        bender.bend = about("commit", lied)
        with pytest.raises(ProofRejected, match=words):
            await ours.read(PARAMS_KEY)
        assert ours.light.newest is None, name


async def test_an_honest_server_is_turned_to(bender: Any, validator: Any, client: Client) -> None:
    for lie, _ in LIES.values():
        ours = await client(bender.url, validator.rpc)

        def lied(result: Answer, lie: Callable[[Answer], Answer] = lie) -> Answer:
            return {**result, "signed_header": lie(result["signed_header"])}

        bender.bend = about("commit", lied)
        assert (await ours.read(PARAMS_KEY)).verified


async def test_a_header_of_another_height_is_refused(bender: Any, client: Client) -> None:
    async def other_height(method: str, params: Answer, result: Any, ask: Any) -> Any:
        return await ask("commit", height="5") if method == "commit" else result

    bender.bend = other_height
    with pytest.raises(ProofRejected, match="got 5"):
        await (await client()).read(PARAMS_KEY)


async def test_a_server_that_shows_the_past_as_the_present_is_refused(bender: Any, client: Client) -> None:
    """Nothing was proven before, so only the age of the header can tell."""

    async def past(method: str, params: Answer, result: Any, ask: Any) -> Any:
        return await ask("abci_query", **{**params, "height": str(height)}) if method == "abci_query" else result

    bender.bend, height = past, await bender.latest() - 2
    await asyncio.sleep(1.1)
    with pytest.raises(ProofRejected, match="s old, more than 1 s"):
        await (await client(max_header_age=1.0)).read(PARAMS_KEY)


async def test_a_witness_that_bends_headers_is_dropped(bender: Any, validator: Any, client: Client) -> None:
    ours = await client(validator.rpc, bender.url)
    bender.bend = about("header", lambda result: header(app_hash="66" * 32)(result))
    held = await ours.read(PARAMS_KEY)
    assert held.verified and ours.light.counts["dropped"] == 1 and ours.light.fork is None


async def test_the_client_follows_a_real_chain(bender: Any, validator: Any, client: Client, trust: GenesisTrust) -> None:
    ours = await client(bender.url, validator.rpc)
    first = await ours.read(PARAMS_KEY)
    target = first.height + 4
    await asyncio.to_thread(validator.wait_height, target + 1)
    later = await ours.read(PARAMS_KEY)
    assert later.height >= target and ours.light.counts["confirmed"] == 2
    assert await ours.committee() == trust.validators
    assert (await ours.read(PARAMS_KEY, height=first.height - 2)).height == first.height - 2
    assert "validators" not in bender.asked and bender.asked.count("commit") <= 4
