"""A committee that really signed two blocks at one height: our client stops, and a real node takes its evidence."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from network.aio.chain_client import ChainClient, ForkDetected
from network.chain_records import PARAMS_KEY
from network.light import GenesisTrust
from network.light_headers import LightBlock, Timestamp, ValidatorSet, header_hash, precommit_bytes
from network.light_json import signed_header
from network.light_render import light_block_json

Client = Callable[..., Awaitable[ChainClient]]


def forged(real: Any, validators: ValidatorSet, key: Any, **changes: Any) -> Any:
    """Another block at the same height, signed by the chain's only validator."""
    signed = signed_header(real)
    header = replace(signed.header, **changes)
    block_id = replace(signed.block_id, hash=header_hash(header))
    signed = replace(signed, header=header, block_id=block_id)
    at = signed.signatures[0].time
    places = (replace(signed.signatures[0], signature=key.sign(precommit_bytes(signed, at, header.chain_id))),)
    return light_block_json(LightBlock(replace(signed, signatures=places), validators))["signed_header"]


@pytest.mark.parametrize("kind", ["lunatic", "equivocation"])
async def test_a_fork_is_found_and_a_real_node_takes_the_evidence(
    kind: str, bender: Any, validator: Any, trust: GenesisTrust, client: Client, tmp_path: Path
) -> None:
    ours = await client(validator.rpc, bender.url, memory=tmp_path / "light.json")
    await ours.read(PARAMS_KEY)
    height = (ours.light.newest or pytest.fail("nothing is trusted")).height + 2
    await asyncio.to_thread(validator.wait_height, height + 1)
    real = await bender.ask("commit", height=str(height))
    time = signed_header(real).header.time
    changes = {"lunatic": {"app_hash": b"\x66" * 32}, "equivocation": {"time": Timestamp(time.seconds, time.nanos ^ 1)}}
    lie = forged(real, trust.validator_set, validator.key, **changes[kind])

    async def bend(method: str, params: Any, result: Any, ask: Any) -> Any:
        if params.get("height") != str(height):
            return result
        return {"header": {"header": lie["header"]}, "commit": {"signed_header": lie, "canonical": True}}.get(method, result)

    bender.bend = bend
    with pytest.raises(ForkDetected, match=f"forked at height {height}"):
        await ours.block(height)
    told = json.loads((tmp_path / "light-fork.json").read_bytes())["evidence"]
    named = [row["address"] for row in told[1]["value"]["ByzantineValidators"]]
    assert named == [trust.validators[0].address.hex().upper()]
    committed = await in_a_block(bender, height)
    assert committed["type"] == "tendermint/LightClientAttackEvidence"
    assert committed["value"]["ConflictingBlock"]["signed_header"]["header"]["height"] == str(height)


async def in_a_block(bender: Any, height: int) -> Any:
    """The evidence about this height, once a block carries it."""
    async with asyncio.timeout(60):
        at = height
        while True:
            latest = await bender.latest()
            while at < latest:
                at += 1
                for row in (await bender.ask("block", height=str(at)))["block"]["evidence"]["evidence"] or []:
                    if row["value"]["ConflictingBlock"]["signed_header"]["header"]["height"] == str(height):
                        return row
            await asyncio.sleep(0.2)
