"""A real chain, a real proxy in front of it that bends answers, and CometBFT's own light client behind that."""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from network.aio import chain_client, light_witnesses
from network.aio.chain_client import ChainClient
from network.light import GenesisTrust
from network.light_json import genesis_trust

CHAIN_ID = "ledger-test"
Forward = Callable[..., Awaitable[Any]]
Bend = Callable[[str, dict[str, Any], Any, Forward], Awaitable[Any]]


async def honest(method: str, params: dict[str, Any], result: Any, ask: Forward) -> Any:
    """The server's own answer."""
    return result


@dataclass
class Bender:
    """An HTTP and websocket proxy before one RPC server. `bend` may change any result, and ask the server other things."""

    upstream: str
    bend: Bend = honest
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = aiohttp.ClientSession()

    async def ask(self, method: str, **params: Any) -> Any:
        """The server's own answer to another question."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self.session.post(self.upstream, json=body) as response:
            return (await response.json(content_type=None))["result"]

    async def latest(self) -> int:
        """The server's latest height."""
        return int((await self.ask("status"))["sync_info"]["latest_block_height"])

    async def post(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body["method"])
        async with self.session.post(self.upstream, json=body) as response:
            answer = await response.json(content_type=None)
        if "result" in answer:
            answer["result"] = await self.bend(body["method"], body.get("params") or {}, answer["result"], self.ask)
        return web.json_response(answer)

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Events pass as they are: nothing that is proven comes this way."""
        near = web.WebSocketResponse()
        await near.prepare(request)
        async with self.session.ws_connect(self.upstream.replace("http", "ws") + "/websocket") as far:

            async def back() -> None:
                async for message in far:
                    await near.send_str(str(message.data))

            task = asyncio.create_task(back())
            async for message in near:
                await far.send_str(str(message.data))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return near


@pytest.fixture(scope="module")
def shared(module_chain: Callable[..., Any]) -> Any:
    """One validator's chain, with blocks enough to ask about the past."""
    chain, _ = module_chain({})
    chain.wait_height(8)
    return chain


@pytest.fixture
def validator(shared: Any) -> Any:
    """The chain's only validator."""
    return shared.validators[0]


@pytest.fixture
def trust(shared: Any) -> GenesisTrust:
    """What the chain's genesis file makes trusted."""
    return genesis_trust(shared.genesis.read_bytes())


@pytest.fixture
async def bender(validator: Any) -> AsyncIterator[Bender]:
    """A proxy before the validator's RPC."""
    held = Bender(validator.rpc)
    app = web.Application()
    app.router.add_post("/", held.post)
    app.router.add_get("/websocket", held.websocket)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    held.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield held
    await held.session.close()
    await runner.cleanup()


@pytest.fixture
async def client(
    bender: Bender, trust: GenesisTrust, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[ChainClient]]]:
    """Makes light clients of ours; with no address, over the proxy alone."""

    async def at_once(attempt: int, **_: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(chain_client, "pause", at_once)
    monkeypatch.setattr(light_witnesses, "PATIENCE", (0.1, 0.3))
    made: list[ChainClient] = []

    async def make(*addresses: str, **settings: Any) -> ChainClient:
        made.append(ChainClient(addresses or (bender.url,), trust, **settings))
        await made[-1].start()
        return made[-1]

    yield make
    for each in made:
        await each.close()


@dataclass
class StockLight:
    """A running `cometbft light`."""

    url: str
    log: Path

    async def query(self, key: bytes, height: int = 0) -> dict[str, Any]:
        """The answer to abci_query; what it cannot verify comes back as {"error": ...}."""
        params = {"path": "/store/main/key", "data": key.hex(), "height": str(height), "prove": True}
        body = {"jsonrpc": "2.0", "id": 1, "method": "abci_query", "params": params}
        async with aiohttp.ClientSession() as session, session.post(self.url, json=body) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
        return answer if "error" in answer else dict(answer["result"]["response"])


def _free_port() -> int:
    for port in range(21800 + os.getpid() % 500, 22400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port")


@pytest.fixture
async def stock(bender: Bender, validator: Any, comet_binary: Path, tmp_path: Path) -> AsyncIterator[StockLight]:
    """CometBFT's light proxy, its primary behind the bending proxy and its witness the real server."""
    known = await bender.ask("commit", height="2")
    digest = known["signed_header"]["commit"]["block_id"]["hash"]
    port, log = _free_port(), tmp_path / "stock.log"
    command = [
        str(comet_binary), "light", CHAIN_ID, "-p", bender.url, "-w", validator.rpc, "--height", "2", "--hash", digest,
        "--laddr", f"tcp://127.0.0.1:{port}", "--home-dir", str(tmp_path / "stock"), "--home", str(tmp_path / "home"),
    ]  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    held = StockLight(f"http://127.0.0.1:{port}", log)
    deadline = time.monotonic() + 60
    while True:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{held.url}/health") as response:
                await response.read()
            break
        except aiohttp.ClientError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            await asyncio.sleep(0.1)
    yield held
    process.kill()
    process.wait()
