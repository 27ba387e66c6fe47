"""Dial-backs on real sockets: reached, not reached, lied to, and not registered until reached."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web

from network.aio.dialer import Dialer
from network.aio.reachability import DialBacks, ReachabilityCheck
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import encode
from network.config import Address
from network.crypto import SigningKey
from network.directory import Directory
from network.ids import Role, node_id
from network.reachability import REACHABILITY_PATH, DialBackAnswer, DialBackRequest, OpenNonces


class Town:
    """Helpers on loopback, and one node that wants to be called."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.dialer = Dialer()
        stack.push_async_callback(self.dialer.aclose)
        self.entries: list[DirectoryEntry] = []
        self.key = SigningKey(os.urandom(32))
        self.nonces = OpenNonces(os.urandom)

    def directory(self) -> Directory:
        entries = tuple(sorted(self.entries, key=lambda each: each.node_id))
        return Directory(DirectoryRecord("test", 1, 3, b"", entries), 3)

    async def serve(self, routes: list[web.RouteDef]) -> Address:
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return Address(*runner.addresses[0][:2])

    async def add_helper(self, routes: list[web.RouteDef] | None = None) -> DirectoryEntry:
        key = SigningKey(os.urandom(32))
        address = await self.serve(routes or DialBacks(self.dialer, OpenNonces(os.urandom), key).routes())
        name = str(address)
        self.entries.append(DirectoryEntry(node_id(key.public), key.public, bytes(32), Role.RELAY, name, name, name))
        return self.entries[-1]

    async def listen(self) -> Address:
        return await self.serve(DialBacks(self.dialer, self.nonces, self.key).routes())

    def check(self, advertised: Address) -> ReachabilityCheck:
        return ReachabilityCheck(advertised, self.key, self.directory, self.dialer, self.nonces, os.urandom)


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(stack)


def closed_port() -> Address:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", probe.getsockname()[1])


async def test_two_helpers_reach_a_node_that_listens(town: Town) -> None:
    for _ in range(3):
        await town.add_helper()
    found = await town.check(await town.listen()).check()
    assert (found.listed, found.asked, found.answered, found.reached) == (3, 2, 2, 2) and found.is_enough


async def test_a_closed_port_and_somebody_elses_are_not_reached(town: Town) -> None:
    for _ in range(3):
        await town.add_helper()
    other = await town.serve(DialBacks(town.dialer, OpenNonces(os.urandom), SigningKey(os.urandom(32))).routes())
    for address in (closed_port(), other):
        found = await town.check(address).check()
        assert (found.asked, found.answered, found.reached) == (3, 3, 0) and not found.is_enough
        assert str(address) in found.explanation


async def test_a_helper_that_lies_counts_for_nothing(town: Town) -> None:
    advertised = closed_port()

    async def lie(_request: web.Request) -> web.Response:
        return web.Response(body=encode(DialBackAnswer(str(advertised), True)))

    async def junk(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(500))

    for handler in (lie, junk):
        await town.add_helper([web.post(REACHABILITY_PATH, handler)])
    found = await town.check(advertised).check()
    assert (found.answered, found.reached) == (1, 0)


async def test_floods_and_junk_are_refused(town: Town) -> None:
    url = f"http://{(await town.add_helper()).address}"
    async with aiohttp.ClientSession() as session:
        for path, body, status in (("", b"junk", 400), ("", b"", 400), ("/call", bytes(33), 400), ("/call", bytes(32), 404)):
            async with session.post(f"{url}{REACHABILITY_PATH}{path}", data=body) as response:
                assert response.status == status
        request = encode(DialBackRequest(bytes(32), closed_port().port, bytes(32)))
        statuses = [(await session.post(f"{url}{REACHABILITY_PATH}", data=request)).status for _ in range(10)]
    assert statuses[0] == 200 and statuses[-1] == 429


async def test_an_unreachable_node_waits_and_says_why_until_it_is_listed(town: Town) -> None:
    await town.add_helper()
    check = town.check(Address("192.0.2.7", 8800))
    waiting = asyncio.create_task(check.wait())
    async with asyncio.timeout(60):
        while not check.trouble:
            await asyncio.sleep(0.01)
    assert "could call back" in check.trouble and not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    own = node_id(town.key.public)
    town.entries.append(DirectoryEntry(own, town.key.public, bytes(32), Role.RELAY, "own", "192.0.2.7:8800", "own"))
    await check.wait()
    assert check.trouble == ""


async def test_loopback_needs_no_check(town: Town) -> None:
    await town.check(Address("127.0.0.1", 1)).wait()
