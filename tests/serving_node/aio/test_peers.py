"""Whose fault it is when a peer does not answer: the way's, the peer's, or the request's."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from network.aio.dialer import Dialer
from network.chain_records import DirectoryEntry
from network.ids import Role
from serving_node.aio.peers import PeerClient, PeerFailed
from serving_node.breaker import Fault


@asynccontextmanager
async def peer(answer: Callable[[web.Request], web.Response]) -> AsyncIterator[DirectoryEntry]:
    async def forward(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_post("/forward", forward)
    async with TestServer(app, host="127.0.0.1") as server:
        yield entry(f"127.0.0.1:{server.port}")


def entry(address: str) -> DirectoryEntry:
    return DirectoryEntry(node_id=b"\x01" * 20, signing_key=b"\x02" * 32, role=Role.MODEL, group="m", address=address)


async def fault_of(asked: DirectoryEntry) -> Fault:
    dialer = Dialer()
    try:
        with pytest.raises(PeerFailed) as failed:
            async for _ in PeerClient(dialer).ask(asked, b"envelope"):
                pass
    finally:
        await dialer.aclose()
    return failed.value.fault


@pytest.mark.parametrize(
    ("status", "fault"),
    [(400, Fault.REFUSED), (403, Fault.REFUSED), (429, Fault.REFUSED), (500, Fault.BROKEN), (302, Fault.BROKEN)],
)
async def test_a_4xx_is_about_the_request(status: int, fault: Fault) -> None:
    async with peer(lambda _: web.Response(status=status)) as asked:
        assert await fault_of(asked) is fault


async def test_garbage_and_silence_are_the_peers() -> None:
    async with peer(lambda _: web.Response(body=b"\xff" * 64)) as asked:
        assert await fault_of(asked) is Fault.BROKEN
    async with peer(lambda _: web.Response(body=b"")) as asked:
        assert await fault_of(asked) is Fault.BROKEN


async def test_nobody_there_is_the_ways() -> None:
    assert await fault_of(entry("127.0.0.1:1")) is Fault.UNREACHABLE
