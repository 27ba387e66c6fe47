"""Who is dialled how: the rule of both ends, pinned keys, and nothing that names the dialer."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from network.aio.dialer import UNREACHABLE, Dialer, dialer_of
from network.aio.listening import PublicPort
from network.aio.tls import WrongKey
from network.chain_records import DirectoryEntry
from network.config import Address, NodeConfig
from network.crypto import SigningKey
from network.errors import ConfigError

KEY, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33)))


def settings(port: int, **changes: Any) -> NodeConfig:
    local = Address("127.0.0.1", port)
    values: dict[str, Any] = {"name": "n", "chain_id": "c", "listen": local, "metrics": local, "family": "", "rpc": ()}
    return NodeConfig(**{**values, "genesis": Path(), "keys": Path(), "log_level": "info", **changes})


class Heard:
    """What a node's port was asked."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.schemes: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.headers.append({key.lower(): value for key, value in request.headers.items()})
        self.schemes.append(request.scheme)
        if request.path == "/link":
            socket = web.WebSocketResponse(compress=False)
            await socket.prepare(request)
            async for message in socket:
                await socket.send_bytes(message.data)
            return socket
        if request.path == "/away":
            raise web.HTTPFound("http://127.0.0.1:9/")
        return web.Response(body=b"answer")


@pytest.fixture
async def serve(unused_tcp_port_factory: Callable[[], int]) -> AsyncIterator[Any]:
    ports: list[PublicPort] = []

    async def start(key: SigningKey, **changes: Any) -> tuple[Heard, DirectoryEntry]:
        heard, number = Heard(), unused_tcp_port_factory()
        config = settings(number, **changes)
        paths = ("/link", "/away", "/directory")
        ports.append(PublicPort(config, key, [web.get(path, heard.answer) for path in paths]))
        await ports[-1].start()
        return heard, DirectoryEntry(signing_key=key.public, address=str(config.listen), name="n")

    yield start
    for port in ports:
        await port.close()


async def test_loopback_is_plain_unless_tls_is_always(serve: Any) -> None:
    heard, node = await serve(KEY)
    async with aclosing(Dialer()) as dialer, dialer.request("GET", node, "/directory") as response:
        assert await response.read() == b"answer"
    assert heard.schemes == ["http"]
    heard, node = await serve(KEY, tls="always")
    async with aclosing(dialer_of(settings(1, tls="always"))) as dialer:
        async with dialer.request("GET", node, "/directory") as response:
            assert await response.read() == b"answer"
        socket = await dialer.open_socket(node, "/link", 100)
        await socket.send_bytes(b"frame")
        assert await socket.receive_bytes() == b"frame"
        await socket.close()
    assert heard.schemes == ["https", "https"]


async def test_another_nodes_key_is_refused(serve: Any) -> None:
    heard, node = await serve(OTHER, tls="always")
    listed = DirectoryEntry(signing_key=KEY.public, address=node.address)
    async with aclosing(Dialer(always_tls=True)) as dialer:
        with pytest.raises(UNREACHABLE) as caught:
            await dialer.open_socket(listed, "/link", 100)
        assert isinstance(caught.value, aiohttp.ClientConnectorCertificateError)
        assert isinstance(caught.value.certificate_error, WrongKey)
        with pytest.raises(UNREACHABLE):
            async with dialer.request("GET", listed, "/directory"):
                pass
    assert not heard.headers


async def test_nothing_in_a_request_names_the_dialer(serve: Any) -> None:
    heard, node = await serve(KEY)
    async with aclosing(Dialer()) as dialer:
        async with dialer.request("GET", node, "/directory"):
            pass
        await (await dialer.open_socket(node, "/link", 100)).close()
    asked, link = heard.headers
    assert set(asked) == {"host"}
    assert set(link) == {"host", "upgrade", "connection", "sec-websocket-version", "sec-websocket-key"}


async def test_a_redirect_leads_nowhere(serve: Any) -> None:
    _, node = await serve(KEY)
    async with aclosing(Dialer()) as dialer, dialer.request("GET", node, "/away") as response:
        assert response.status == 302


@pytest.mark.parametrize("address", ["evil/path:80", "user@host:80", "host?x:80", "host", "host:0", " :80", "a\nb:80", ":80"])
async def test_an_address_is_a_host_and_a_port_and_nothing_else(address: str) -> None:
    """Anybody may register any text as an address."""
    async with aclosing(Dialer()) as dialer:
        with pytest.raises(UNREACHABLE):
            await dialer.open_socket(DirectoryEntry(address=address), "/link", 100)


async def test_a_port_that_is_taken_is_said(serve: Any) -> None:
    _, node = await serve(KEY)
    taken = PublicPort(settings(int(node.address.rpartition(":")[2])), KEY, [])
    with pytest.raises(ConfigError, match=r"node\.listen"):
        await taken.start()
    await taken.close()
