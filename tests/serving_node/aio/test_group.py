"""Groups on loopback over real HTTP: they come to agree, route by it, and shrug off what no peer should send."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from network.aio.dialer import Dialer
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import decode
from network.crypto import SigningKey
from network.directory import Directory
from network.hrtree.delta import MAX_POST, Hello, Post, Proofs
from network.hrtree.fingerprint import ChunkPlan
from network.hrtree.pair import Pair
from network.ids import NodeId, Role, node_id
from serving_node.aio.group import Group
from serving_node.load_factor import EngineLoad

PLAN = ChunkPlan((), 4)
PROMPT = list(range(40))


class Network:
    """A few groups, each behind its own server, and the directory they all read."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.dialer = Dialer()
        self.runners: list[web.AppRunner] = []
        self.keys: list[SigningKey] = []
        self.record = DirectoryRecord(chain_id="test", epoch=1)
        self.directory = Directory(self.record, 1)

    async def add(self, key: SigningKey, *, start: bool = True) -> Group:
        own = NodeId(node_id(key.public))
        group = Group(
            own,
            key,
            lambda: self.directory,
            "m",
            "ttft",
            bytes,
            self.dialer,
            registry=CollectorRegistry(),
            plan=PLAN,
            flush_s=0.02,
        )
        app = web.Application()
        app.add_routes(group.routes())
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = f"127.0.0.1:{runner.addresses[0][1]}"
        entry = DirectoryEntry(
            node_id=own, signing_key=key.public, role=Role.MODEL, address=address, group="m", reputation=5 * 10**8, trusted=True
        )
        self.set([other for other in self.record.entries if other.node_id != own] + [entry])
        self.groups.append(group)
        self.runners.append(runner)
        self.keys.append(key)
        if start:
            await group.start()
        return group

    def set(self, entries: list[DirectoryEntry]) -> None:
        self.record = replace(self.record, entries=tuple(sorted(entries, key=lambda entry: entry.node_id)))
        self.directory = Directory(self.record, self.directory.height + 1)

    def address(self, group: Group) -> str:
        entry = self.directory.get(group.forwarder.own)
        assert entry is not None
        return entry.address

    async def close(self) -> None:
        for group in self.groups:
            await group.close()
        await self.dialer.aclose()
        for runner in self.runners:
            await runner.cleanup()


@asynccontextmanager
async def network(count: int) -> AsyncIterator[Network]:
    made = Network()
    try:
        for number in range(count):
            await made.add(SigningKey(bytes([number + 1] * 32)))
        yield made
    finally:
        await made.close()


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not come true in 10 s")


def knows(group: Group, other: Group, tokens: int) -> bool:
    return _held(group, other, PROMPT) == tokens


async def test_three_nodes_agree_and_forward_to_the_holder() -> None:
    async with network(3) as net:
        one, two, three = net.groups
        one.observe_admitted(PROMPT)
        one.observe_served(PROMPT, 0, 0.4, latency_s=1.0)
        one.set_load(EngineLoad(running=0, slots=2, capacity_tokens_per_s=150))
        await until(lambda: knows(two, one, 40) and knows(three, one, 40))
        decision = two.decide(PROMPT)
        assert decision.node_id == one.forwarder.own
        assert decision.reason == "soonest first token"
        assert decision.predicted_cached_tokens in (39, 40)
        rows = decision.explain()["candidates"]
        assert isinstance(rows, list)
        assert [len(row["node_id"]) for row in rows] == [40, 40, 40]
        report = two.forwarder.sync.replicas[one.forwarder.own].load
        assert report is not None
        assert (report.slots, round(report.latency_us, -5), round(report.token_ns, -6)) == (2, 1_000_000, 10_000_000)
        assert two.forwarder.rtt[one.forwarder.own].value is not None
        scraped = generate_latest(_registry(two)).decode()
        assert 'planetserve_group_decisions_total{policy="ttft",where="forwarded"}' in scraped
        assert "planetserve_group_bytes_received_total" in scraped


async def test_a_busy_holder_is_left_alone() -> None:
    async with network(2) as net:
        one, two = net.groups
        one.observe_admitted(PROMPT)
        one.set_load(EngineLoad(running=2, waiting=9, queued_tokens=90_000, slots=2, capacity_tokens_per_s=150))
        await until(lambda: knows(two, one, 40))
        assert two.decide(PROMPT).node_id == two.forwarder.own


async def test_an_eviction_is_told() -> None:
    async with network(2) as net:
        one, two = net.groups
        first, second = PROMPT + [7] * 160, PROMPT + [8] * 160
        for prompt, cached in ((first, 0), (second, 40)):
            one.observe_admitted(prompt)
            one.observe_served(prompt, cached, 0.1)
        await until(lambda: _held(two, one, first) == _held(two, one, second) == 200)
        one.observe_admitted(first)
        one.observe_served(first, 40, 0.1)
        await until(lambda: _held(two, one, first) == _held(two, one, second) == 200)
        one.observe_admitted(second)
        one.observe_served(second, 0, 0.1)
        await until(lambda: _held(two, one, first) == 40)
        assert _held(two, one, second) == 200


def _held(group: Group, other: Group, tokens: list[int]) -> int:
    rows = {candidate.node_id: candidate.held_tokens for candidate in group.decide(tokens).candidates}
    return rows.get(other.forwarder.own, -1)


async def test_a_late_joiner_fetches_a_snapshot_and_a_leaver_is_forgotten() -> None:
    async with network(2) as net:
        one, two = net.groups
        for number in range(200):
            one.observe_admitted([number] * 8 + PROMPT)
            one.forwarder.sync.journal.flush()
        one.observe_admitted(PROMPT)
        three = await net.add(SigningKey(bytes([9] * 32)))
        await until(lambda: knows(three, one, 40))
        assert three.forwarder.sync.counts["snapshots"] >= 1
        assert _held(three, one, [0] * 8 + PROMPT) == 48
        net.set([entry for entry in net.record.entries if entry.node_id != one.forwarder.own])
        assert [candidate.node_id for candidate in three.decide(PROMPT).candidates] == sorted(
            [two.forwarder.own, three.forwarder.own]
        )
        assert one.forwarder.own not in three.forwarder.index.holders()


async def test_a_peer_that_was_down_is_brought_up_to_date() -> None:
    async with network(1) as net:
        one = net.groups[0]
        two = await net.add(SigningKey(bytes([2] * 32)), start=False)
        await net.runners[1].cleanup()
        one.observe_admitted(PROMPT)
        await until(lambda: one.metrics.counts["exchange_failures"] >= 1)
        back = await net.add(net.keys[1])
        await until(lambda: knows(back, one, 40))
        assert two is not back


async def test_a_directory_that_comes_late_is_noticed_without_news() -> None:
    """Nodes start before the chain has told them of each other, and nothing stirs them then."""
    async with network(2) as net:
        one, two = net.groups
        full = net.record
        net.set([])
        one.observe_admitted(PROMPT)
        await until(lambda: not one.forwarder.sync.journal.dirty and not two.forwarder.sync.replicas)
        await asyncio.sleep(0.1)
        net.set(list(full.entries))
        await until(lambda: knows(two, one, 40))


async def test_a_restarted_peer_loses_its_old_claims() -> None:
    async with network(2) as net:
        one, two = net.groups
        one.observe_admitted(PROMPT)
        await until(lambda: knows(two, one, 40))
        await one.close()
        await net.runners[0].cleanup()
        await net.add(net.keys[0])
        await until(lambda: knows(two, one, 0))


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [(b"", 409, "session"), (b"\xff" * 50, 400, "garbage"), (bytes(MAX_POST + 1), 413, "oversized")],
)
async def test_bad_posts_are_counted_and_answered(body: bytes, status: int, word: str) -> None:
    async with network(1) as net, aiohttp.ClientSession() as session:
        group = net.groups[0]
        async with session.post(f"http://{net.address(group)}/group/delta", data=body) as answer:
            assert answer.status == status
            assert await answer.json() == {"error": word}
        assert group.metrics.refusals[word] == 1


async def test_strangers_get_neither_ear_nor_snapshot() -> None:
    stranger = SigningKey(bytes([77] * 32))
    async with network(1) as net, aiohttp.ClientSession() as session:
        group = net.groups[0]
        base = f"http://{net.address(group)}"
        pair = Pair(node_id(stranger.public), group.forwarder.own, stranger, net.keys[0].public, "test", "m")
        hello = _hello(group, stranger)
        async with session.post(f"{base}/group/delta", data=pair.seal_post(Post(hello=hello, count=1))) as answer:
            assert (answer.status, await answer.json()) == (403, {"error": "unknown-sender"})
        for header in ({}, {"x-planetserve-hello": "zz"}, {"x-planetserve-hello": pair.seal_hello(hello).hex()}):
            async with session.get(f"{base}/group/snapshot", headers=header) as answer:
                assert answer.status in (400, 403)
        async with session.get(f"{base}/group/proof") as answer:
            assert decode(Proofs, await answer.read()) == Proofs()


def _hello(group: Group, key: SigningKey) -> Hello:
    return Hello(group="m", origin=node_id(key.public), target=group.forwarder.own, time_ms=1)


def _registry(group: Group) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(group.metrics)
    return registry
