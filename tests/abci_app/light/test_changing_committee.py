"""A real committee that gains and loses a member by vote: our client and the stock one follow it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from network.aio.chain_client import ChainClient
from network.chain_records import PARAMS_KEY
from network.chain_tx import Propose, TxKind, ValidatorChange
from network.crypto import SigningKey
from network.light import GenesisTrust

Client = Callable[..., Awaitable[ChainClient]]
QUICK = {
    "epoch_blocks": 20,
    "vrf_end": 2,
    "commit_end": 4,
    "send_end": 10,
    "publish_end": 13,
    "score_end": 16,
    "reveal_end": 19,
}
NEWCOMER = SigningKey(b"\x51" * 32)


@pytest.fixture(scope="module")
def shared(module_chain: Callable[..., Any]) -> Any:
    """A chain of short epochs: what a vote decides comes true at an epoch's end."""
    return module_chain(QUICK)[0]


async def change(ours: ChainClient, validator: Any, power: int) -> None:
    """The only founder's word is more than 2/3: propose, and wait until the set has that many members."""
    member = ValidatorChange(NEWCOMER.public, SigningKey(b"\x52" * 32).public, power, "newcomer")
    result = await ours.submit(TxKind.PROPOSE, Propose(title="a change", validator=member), validator.verifier_key)
    assert result.code == 0, result
    async with asyncio.timeout(60):
        while len(await ours.committee()) != 1 + (power > 0):
            await asyncio.sleep(0.2)


async def test_members_come_and_go_and_both_clients_follow(
    bender: Any, validator: Any, stock: Any, client: Client, trust: GenesisTrust
) -> None:
    ours = await client()
    founders = await ours.committee()
    assert founders == trust.validators
    await change(ours, validator, 4)
    assert [entry.power for entry in await ours.committee()] == [10, 4]
    assert (await stock.query(PARAMS_KEY))["value"]
    await change(ours, validator, 0)
    assert await ours.committee() == founders
    assert bender.asked.count("validators") >= 1 and (await stock.query(PARAMS_KEY))["value"]
    height = (await ours.read(PARAMS_KEY)).height
    newcomer = await client()  # from the genesis file to the present at one step: the founder's word spans both changes
    assert (await newcomer.block(height)).hash == (await ours.block(height)).hash
    assert newcomer.light.counts["verified"] == 1
