"""Groups on loopback agree on terms over real HTTP, and tell them to nobody else."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from network.aio.dialer import Dialer
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.crypto import SigningKey, exchange_public
from network.directory import Directory
from network.hpke import OnionPrivate, Opener
from network.hrtree.fingerprint import GENERATION_EPOCHS
from network.hrtree.terms import HeldTerms
from network.ids import NodeId, Role, node_id
from serving_node.aio import terms
from serving_node.aio.group import Group

PROMPT = list(range(1, 400))


class Network:
    """A few groups, each behind its own server, with the onion keys that the directory names."""

    def __init__(self) -> None:
        self.groups: dict[int, Group] = {}
        self.runners: dict[int, web.AppRunner] = {}
        self.registries: dict[int, CollectorRegistry] = {}
        self.dialer = Dialer()
        self.directory = Directory(DirectoryRecord(chain_id="test", epoch=1), 1)

    async def add(self, number: int, *, trusted: bool = True) -> Group:
        key, onion = SigningKey(bytes([number + 1] * 32)), OnionPrivate(bytes([number + 60] * 32))
        own = NodeId(node_id(key.public))
        group = Group(
            own,
            key,
            lambda: self.directory,
            "m",
            "ttft",
            os.urandom,
            self.dialer,
            registry=self.registries.setdefault(number, CollectorRegistry()),
            opener=Opener(onion),
            flush_s=0.02,
        )
        app = web.Application()
        app.add_routes(group.routes())
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        entry = DirectoryEntry(
            node_id=own,
            signing_key=key.public,
            onion_key=exchange_public(onion.x25519),
            role=Role.MODEL,
            address=f"127.0.0.1:{runner.addresses[0][1]}",
            group="m",
            reputation=5 * 10**8,
            trusted=trusted,
        )
        self.set(*(each for each in self.directory.record.entries if each.node_id != own), entry)
        self.groups[number], self.runners[number] = group, runner
        await group.start()
        return group

    def set(self, *entries: DirectoryEntry, epoch: int | None = None) -> None:
        record = self.directory.record
        found = tuple(sorted(entries or record.entries, key=lambda entry: entry.node_id))
        record = replace(record, entries=found, epoch=record.epoch if epoch is None else epoch)
        self.directory = Directory(record, self.directory.height + 1)

    def entry(self, number: int) -> DirectoryEntry:
        found = self.directory.get(self.groups[number].forwarder.own)
        assert found is not None
        return found

    def held(self, number: int, generation: int = 0) -> HeldTerms | None:
        return self.groups[number].terms.book.held(generation)

    def agreed(self, *numbers: int, generation: int = 0) -> bool:
        held = [self.held(number, generation) for number in numbers]
        spaces = {self.groups[number].forwarder.index.space(generation).id for number in numbers}
        return None not in held and len({each.secret for each in held if each}) == len(spaces) == 1

    async def stop(self, number: int) -> None:
        self.registries.pop(number)
        await self.groups.pop(number).close()
        await self.runners.pop(number).cleanup()


@asynccontextmanager
async def network(count: int) -> AsyncIterator[Network]:
    made = Network()
    try:
        for number in range(count):
            await made.add(number)
        yield made
    finally:
        for number in list(made.groups):
            await made.stop(number)
        await made.dialer.aclose()


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not come true in 15 s")


def knows(one: Group, two: Group) -> bool:
    held = one.forwarder.index.match(b"".join(token.to_bytes(4, "little") for token in PROMPT)).get(two.forwarder.own)
    return held is not None and held.tokens == 384


async def test_a_group_agrees_and_a_newcomer_is_told() -> None:
    async with network(3) as net:
        await until(lambda: net.agreed(0, 1, 2))
        net.groups[0].observe_admitted(PROMPT)
        await until(lambda: knows(net.groups[1], net.groups[0]))
        before = net.held(0)
        scraped = generate_latest(net.registries[1]).decode()
        assert 'planetserve_group_terms_total{event="taken"} 1.0' in scraped
        assert 'planetserve_group_terms_held{generation="present"} 1.0' in scraped
        assert 'planetserve_group_terms_held{generation="next"} 0.0' in scraped
        await net.add(3)
        await until(lambda: net.agreed(0, 1, 2, 3))
        assert net.held(3) == before
        await until(lambda: knows(net.groups[3], net.groups[0]))


async def test_a_restarted_node_asks_again_and_reads_what_it_missed() -> None:
    async with network(2) as net:
        await until(lambda: net.agreed(0, 1))
        secret = net.held(0).secret  # type: ignore[union-attr]
        net.groups[0].observe_admitted(PROMPT)
        await until(lambda: knows(net.groups[1], net.groups[0]))
        await net.stop(1)
        again = await net.add(1)
        await until(lambda: net.agreed(0, 1))
        assert net.held(1).secret == secret  # type: ignore[union-attr]
        await until(lambda: knows(again, net.groups[0]))


async def test_the_next_generation_is_there_before_it_begins() -> None:
    async with network(2) as net:
        await until(lambda: net.agreed(0, 1))
        net.set(epoch=GENERATION_EPOCHS // 2 + 1)
        await until(lambda: net.agreed(0, 1, generation=1))
        assert net.held(0, 1).secret != net.held(0, 0).secret  # type: ignore[union-attr]
        net.groups[0].observe_admitted(PROMPT)
        await until(lambda: knows(net.groups[1], net.groups[0]))
        net.set(epoch=GENERATION_EPOCHS)
        for group in net.groups.values():
            group.decide(PROMPT)
            assert group.forwarder.index.generation == 1
        assert knows(net.groups[1], net.groups[0])
        net.groups[1].observe_admitted(PROMPT)
        await until(lambda: knows(net.groups[0], net.groups[1]))
        assert net.groups[0].forwarder.index.generations() == (0, 1)


async def test_the_untrusted_and_strangers_are_refused_and_keep_to_themselves() -> None:
    async with network(2) as net:
        await until(lambda: net.agreed(0, 1))
        outcast = await net.add(2, trusted=False)
        net.groups[0].observe_admitted(PROMPT)
        outcast.observe_admitted(PROMPT)
        await until(lambda: knows(net.groups[1], net.groups[0]) and outcast.forwarder.sync.counts["foreign-space"] > 0)
        assert net.held(2) is None
        assert not knows(net.groups[0], outcast)
        assert not knows(outcast, net.groups[0])
        hello = outcast.forwarder.sync.hello_for(net.groups[0].forwarder.own, terms.wall_ms())
        for sent, status in ((hello.hex(), 403), ("", 403), ("xy", 400)):
            headers = {"x-planetserve-hello": sent}
            url = f"http://{net.entry(0).address}/group/terms"
            async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
                assert answer.status == status
        net.set(*(replace(entry, trusted=True) for entry in net.directory.record.entries))
        await until(lambda: net.agreed(0, 1, 2))
        await until(lambda: knows(outcast, net.groups[0]))


async def test_a_node_alone_is_its_own_group() -> None:
    async with network(1) as net:
        await until(lambda: net.agreed(0))
        net.groups[0].observe_admitted(PROMPT)
        assert knows(net.groups[0], net.groups[0])


async def test_no_secret_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with network(2) as net:
        await until(lambda: net.agreed(0, 1))
        secret = net.held(0).secret  # type: ignore[union-attr]
    said = [caplog.text, *(repr(record.__dict__) for record in caplog.records)]
    assert any("terms for a generation" in line for line in said)
    assert not any(form in line for line in said for form in (secret.hex(), repr(secret)[2:-1]))


async def test_a_node_that_took_its_time_to_start_waits_for_the_group_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async with network(1) as net:
        await until(lambda: net.agreed(0))
        late = await net.add(1)
        late.terms.book.on_directory(net.directory)
        clock = terms.time.monotonic() + 10 * terms.GIVE_UP_S
        late.terms.tick(net.directory, clock, late.exchange.fetch_terms)
        assert net.held(1) is None
        await until(lambda: net.agreed(0, 1))
        assert net.held(1) == net.held(0)
