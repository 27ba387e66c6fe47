"""A node's part among its neighbours, wired: what its two ports answer, and when it goes on to register."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from network.aio.dialer import Dialer
from network.aio.neighbours import Neighbours
from network.config import Address, NodeConfig
from network.crypto import SigningKey
from network.directory import Directory, empty


def settings(public: Address, reachability: str = "check") -> NodeConfig:
    place = Path()
    return NodeConfig("n", "test", public, public, "f", (), place, place, "info", reachability=reachability)


@pytest.fixture
async def dialer() -> AsyncIterator[Dialer]:
    made = Dialer()
    yield made
    await made.aclose()


def neighbours(dialer: Dialer, listed: Directory, config: NodeConfig) -> Neighbours:
    return Neighbours(config, SigningKey(bytes(32)), lambda: listed, dialer)


async def test_both_ports_answer(dialer: Dialer) -> None:
    node = neighbours(dialer, empty("test"), settings(Address("127.0.0.1", 9)))
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.add_routes([*node.routes(), *[web.post("/ops", each.handler) for each in node.ops_routes()]])  # type: ignore[attr-defined]
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = "http://{}:{}".format(*runner.addresses[0][:2])
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for path in ("/directory", "/gossip"):
            async with session.get(url + path) as response:
                assert response.status == 200 and await response.read()
        async with session.post(url + "/ops") as response:
            document: Any = await response.json()
    assert document["enough"] and (document["listed"], document["asked"], document["explanation"]) == (0, 0, "")
    assert node.status()["heard"] == 0


async def test_registering_waits_for_the_check_unless_it_is_assumed(dialer: Dialer, directory_of: Any) -> None:
    outer = Address("192.0.2.7", 8800)
    registered: list[str] = []

    async def register() -> None:
        registered.append("done")

    await neighbours(dialer, empty("test"), settings(outer, "assume")).once_reachable(register)
    await neighbours(dialer, empty("test"), settings(Address("127.0.0.1", 9))).once_reachable(register)
    assert len(registered) == 2
    checked = neighbours(dialer, directory_of(["one"]), settings(outer))  # the one listed relay does not answer
    waiting = asyncio.create_task(checked.once_reachable(register))
    async with asyncio.timeout(60):
        while not checked.trouble:
            await asyncio.sleep(0.01)
    assert "way out" in checked.trouble and len(registered) == 2
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
