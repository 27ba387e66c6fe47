"""The group's voice over real HTTP: how long news waits, and a proof that reaches every member."""

import asyncio
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from network.aio.dialer import Dialer
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import decode
from network.crypto import SigningKey
from network.directory import Directory
from network.hrtree.delta import Head, Proof, Proofs, SignedKind, first_link, group_tag, next_link, sign
from network.ids import NodeId, Role, node_id
from serving_node.aio.exchange import flush_period
from serving_node.aio.group import Group

KEYS = [SigningKey(bytes([number + 1] * 32)) for number in range(4)]


@pytest.mark.parametrize(("members", "seconds"), [(1, 1.0), (4, 1.0), (6, 3.0), (8, 5.0), (64, 5.0)])
def test_news_waits_longer_in_larger_groups(members: int, seconds: float) -> None:
    assert flush_period(members) == seconds


@dataclass
class Town:
    """Three groups that speak, and a fourth member that is listed and silent."""

    dialer: Dialer = field(default_factory=Dialer)
    directory: Directory = field(default_factory=lambda: Directory(DirectoryRecord(chain_id="test", epoch=1), 1))
    groups: list[Group] = field(default_factory=list)
    runners: list[web.AppRunner] = field(default_factory=list)

    async def open(self) -> None:
        addresses = ["127.0.0.1:9"] * len(KEYS)
        for number, key in enumerate(KEYS[:3]):
            own = NodeId(node_id(key.public))
            group = Group(
                own, key, lambda: self.directory, "m", "ttft", bytes, self.dialer, registry=CollectorRegistry(), flush_s=0.02
            )
            app = web.Application()
            app.add_routes(group.routes())
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            addresses[number] = f"127.0.0.1:{runner.addresses[0][1]}"
            self.groups.append(group)
            self.runners.append(runner)
        entries = [
            DirectoryEntry(node_id=node_id(key.public), signing_key=key.public, role=Role.MODEL, address=address, group="m")
            for key, address in zip(KEYS, addresses, strict=True)
        ]
        record = DirectoryRecord(chain_id="test", epoch=1, entries=tuple(sorted(entries, key=lambda entry: entry.node_id)))
        self.directory = Directory(record, 2)
        for group in self.groups:
            await group.start()

    async def close(self) -> None:
        for group in self.groups:
            await group.close()
        await self.dialer.aclose()
        for runner in self.runners:
            await runner.cleanup()


async def test_a_proof_reaches_every_member_and_whoever_asks() -> None:
    town = Town()
    try:
        await town.open()
        one, *others = town.groups
        cheat = node_id(KEYS[3].public)
        await _until(lambda: cheat in one.mind().sync.replicas)
        link = first_link("m", cheat, 5)
        heads = [Head(group_tag("m"), cheat, 5, 1, next_link(link, said)) for said in (b"this", b"that")]
        proof = Proof(*(sign(SignedKind.HEAD, head, KEYS[3], "test") for head in heads))
        one.mind().sync.on_proof(proof)
        one.exchange.stir(anyway=True)
        await _until(lambda: all(group.mind().sync.counts["ejected"] == 1 for group in others))
        entry = town.directory.get(others[0].forwarder.own)
        assert entry is not None
        async with aiohttp.ClientSession() as session, session.get(f"http://{entry.address}/group/proof") as answer:
            assert decode(Proofs, await answer.read()) == Proofs((proof,))
        assert one.exchange._due(cheat) == float("inf")
    finally:
        await town.close()


async def _until(holds: object) -> None:
    for _ in range(1000):
        if holds():  # type: ignore[operator]
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not come true in 10 s")
