"""An overlay on loopback in one process: real relays, a real model node's clove server, real WebSockets."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from network.aio.dialer import Dialer
from network.aio.tls import server_context
from network.aio.user_node import UserNode
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import encode
from network.crypto import SigningKey, exchange_public
from network.directory import Directory
from network.directory_summary import DIRECTORY_PATH, DirectorySummary, summary_of
from network.gossip import GOSSIP_PATH, GossipMessage
from network.handshake import OnionKey
from network.heartbeat import make_heartbeat
from network.hpke import hybrid_public
from network.ids import Role, node_id
from relay.aio.server import RelayServer
from relay.core import RelayCore
from serving_node.aio.clove_server import CloveServer, ReplyStream


class Overlay:
    """16 relays, model nodes as asked for, user nodes as asked for; `encrypted` as between machines."""

    def __init__(self, *, encrypted: bool = False) -> None:
        self.encrypted = encrypted
        self.draw = random.Random(5).randbytes
        self.entries: list[DirectoryEntry] = []
        self.relays: dict[str, tuple[RelayServer, RelayCore, web.AppRunner]] = {}
        self.closers: list[Callable[[], Awaitable[Any]]] = []
        self.liars: dict[str, DirectorySummary] = {}  # relays that say they route by another directory
        self.keys: dict[str, SigningKey] = {}
        self.model_keys: dict[str, tuple[bytes, bytes]] = {}
        self.hushed: set[str] = set()  # relays of which gossip says nothing
        self.clock: Callable[[], float] = time.time

    def directory(self) -> Directory:
        entries = tuple(sorted(self.entries, key=lambda each: each.node_id))
        return Directory(DirectoryRecord("test", 1, 1, b"", entries), 1)

    async def _serve(self, routes: list[web.RouteDef], key: SigningKey) -> tuple[str, web.AppRunner]:
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        context = server_context(key) if self.encrypted else None
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        return "{}:{}".format(*runner.addresses[0][:2]), runner

    def _enter(
        self, role: Role, name: str, address: str, private: bytes, key: SigningKey, hybrid: bytes = b""
    ) -> DirectoryEntry:
        entry = DirectoryEntry(
            node_id(key.public),
            key.public,
            exchange_public(private),
            role,
            name,
            address,
            f"family-{name}",
            trusted=True,
            hybrid_key=hybrid,
        )
        self.entries.append(entry)
        return entry

    async def add_relay(self, number: int, **limits: Any) -> None:
        key, private = SigningKey(self.draw(32)), self.draw(32)
        onion_keys = [OnionKey(private, exchange_public(private))]
        core = RelayCore(node_id(key.public), onion_keys, self.directory, self.draw, **limits)
        server = RelayServer(core, dialer=Dialer(always_tls=self.encrypted))
        name = f"relay-{number:02d}"

        async def summary(_: web.Request) -> web.Response:
            return web.Response(body=encode(self.liars.get(name) or summary_of(self.directory())))

        self.keys[name] = key
        routes = [*server.routes(), web.get(DIRECTORY_PATH, summary), web.get(GOSSIP_PATH, self._gossip)]
        address, runner = await self._serve(routes, key)
        self._enter(Role.RELAY, name, address, private, key)
        self.relays[name] = (server, core, runner)

    async def _gossip(self, _: web.Request) -> web.Response:
        now = self.clock()
        speaking = [entry for entry in self.entries if entry.name in self.keys and entry.name not in self.hushed]
        beats = [make_heartbeat(self.keys[entry.name], "test", now, entry.address, 1) for entry in speaking]
        return web.Response(body=encode(GossipMessage((), tuple(beats))))

    async def kill_relay(self, name: str) -> None:
        """The relay's links break and its port closes; the directory still lists it."""
        server, _, runner = self.relays.pop(name)
        await server.close()
        await runner.cleanup()

    async def add_model_node(
        self, handler: Callable[[bytes, ReplyStream], Awaitable[None]], hybrid: bool = False
    ) -> tuple[CloveServer, DirectoryEntry]:
        private, second = self.draw(32), self.draw(96) if hybrid else b""
        server = CloveServer(private, handler, self.draw, hybrid_private=second)
        self.model_keys["model-0"] = (private, second)
        key = SigningKey(self.draw(32))
        address, runner = await self._serve(server.routes(), key)
        self.closers += [server.close, runner.cleanup]
        public = hybrid_public(second) if hybrid else b""
        return server, self._enter(Role.MODEL, "model-0", address, private, key, public)

    async def add_user(self, **options: Any) -> UserNode:
        options.setdefault("dialer", Dialer(always_tls=self.encrypted))
        user = UserNode(self.directory, self.draw, **options)
        await user.start()
        self.closers.insert(0, user.close)
        return user

    async def close(self) -> None:
        for closer in self.closers:
            await closer()
        for name in list(self.relays):
            await self.kill_relay(name)


@pytest.fixture
async def overlay() -> AsyncIterator[Overlay]:
    """Sixteen relays that listen."""
    built = Overlay()
    await asyncio.gather(*(built.add_relay(number) for number in range(16)))
    yield built
    await built.close()


@pytest.fixture
async def encrypted_overlay() -> AsyncIterator[Overlay]:
    """Sixteen relays that speak TLS, as between machines."""
    built = Overlay(encrypted=True)
    await asyncio.gather(*(built.add_relay(number) for number in range(16)))
    yield built
    await built.close()
