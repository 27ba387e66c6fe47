"""What nodes tell each other over HTTP, on real sockets."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web

from network.aio.dialer import Dialer
from network.aio.gossip import DirectoryPage, fetch_summary
from network.chain_records import DirectoryEntry
from network.directory import Directory
from network.directory_summary import summary_of
from network.errors import DecodeError


@pytest.fixture
async def listed(directory_of: Any) -> AsyncIterator[tuple[Directory, str]]:
    directory = directory_of(["family-1", "family-2"])
    app = web.Application()
    app.add_routes(DirectoryPage(lambda: directory).routes())
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield directory, "{}:{}".format(*runner.addresses[0][:2])
    await runner.cleanup()


async def test_a_node_says_which_directory_it_routes_by(listed: tuple[Directory, str]) -> None:
    directory, address = listed
    async with aclosing(Dialer()) as dialer:
        assert await fetch_summary(dialer, DirectoryEntry(address=address)) == summary_of(directory)


async def test_who_serves_something_else_is_refused() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(4096))

    app = web.Application()
    app.router.add_get("/directory", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aclosing(Dialer()) as dialer:
        with pytest.raises(DecodeError):
            await fetch_summary(dialer, DirectoryEntry(address="{}:{}".format(*runner.addresses[0][:2])))
    await runner.cleanup()
