"""What nodes tell each other over HTTP, on real sockets."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from network.aio.dialer import Dialer
from network.aio.gossip import Gossiper, GossipServer, LivenessFeed, fetch_summary
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.crypto import SigningKey
from network.directory import Directory, empty
from network.directory_summary import summary_of
from network.errors import DecodeError
from network.gossip import REQUEST_LIMIT, Gossip
from network.ids import Role, node_id
from network.liveness import Liveness


def listening() -> tuple[socket.socket, str]:
    """A port of our own, and its address."""
    port = socket.create_server(("127.0.0.1", 0))
    return port, "{}:{}".format(*port.getsockname())


async def serve(stack: AsyncExitStack, port: socket.socket, routes: list[web.RouteDef]) -> None:
    """Answer on this port."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, port).start()


class Town:
    """Gossiping nodes on real sockets."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.listed = empty("test")
        self.nodes: list[tuple[Gossip, Liveness]] = []
        self.dialer = Dialer()
        stack.push_async_callback(self.dialer.aclose)

    async def grow(self, count: int) -> None:
        keys = [SigningKey(os.urandom(32)) for _ in range(count)]
        entries = []
        for key in keys:
            liveness = Liveness(lambda: self.listed)
            port, address = listening()
            gossip = Gossip("test", lambda: self.listed, liveness, os.urandom, key=key, address=address)
            await serve(self.stack, port, GossipServer(gossip, lambda: self.listed).routes())
            self.nodes.append((gossip, liveness))
            entries.append(DirectoryEntry(node_id(key.public), key.public, bytes(32), Role.RELAY, "relay", address, address))
        entries.sort(key=lambda each: each.node_id)
        self.listed = Directory(DirectoryRecord("test", 1, 3, b"", tuple(entries)), 3)

    def start(self, work: Any) -> None:
        task = asyncio.create_task(work)

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.stack.push_async_callback(stop)


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        found = Town(stack)
        await found.grow(4)
        yield found


async def eventually(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not check():
            await asyncio.sleep(0.02)


async def test_nodes_hear_of_each_other_and_a_user_hears_of_all(town: Town) -> None:
    for gossip, _ in town.nodes:
        town.start(Gossiper(gossip, town.dialer, os.urandom).run())
    await eventually(lambda: all(gossip.status(time.time())["heard"] == 3 for gossip, _ in town.nodes))
    nobody = DirectoryEntry(bytes(20), address="127.0.0.1:9")
    rounds: list[None] = []
    guards = [nobody, *town.listed.relays()]
    user = LivenessFeed(lambda: town.listed, lambda: guards, town.dialer, os.urandom, lambda: rounds.append(None))
    town.start(user.run())
    await eventually(lambda: user.status()["heard"] == 4)
    assert rounds and all(map(user.usable, town.listed.relays()))


async def test_a_node_says_which_directory_it_routes_by(town: Town) -> None:
    assert await fetch_summary(town.dialer, town.listed.relays()[0]) == summary_of(town.listed)


async def test_junk_is_refused_and_floods_are_slowed_down(town: Town) -> None:
    url = f"http://{town.listed.relays()[0].address}/gossip"
    async with aiohttp.ClientSession() as session:
        for body in (b"junk", bytes(REQUEST_LIMIT + 1)):
            async with session.post(url, data=body) as response:
                assert response.status == 400
        # All at once: one after the other would be slow enough on a busy machine.
        statuses = [answer.status for answer in await asyncio.gather(*(session.get(url) for _ in range(400)))]
    assert {200, 429} == set(statuses)


async def test_who_serves_something_else_is_refused() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(4096))

    async with AsyncExitStack() as stack, aclosing(Dialer()) as dialer:
        port, address = listening()
        await serve(stack, port, [web.get("/directory", answer)])
        with pytest.raises(DecodeError):
            await fetch_summary(dialer, DirectoryEntry(address=address))
