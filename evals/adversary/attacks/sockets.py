"""Attacks on real sockets: who taps a link, who answers in a relay's place, who reads a relay's log."""

import asyncio
import io
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from evals.adversary.attack import Attack, Outcome, standing
from network.aio import tls
from network.aio.circuits import CircuitPool
from network.aio.dialer import Dialer
from network.aio.listening import PublicPort
from network.aio.logs import configure
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.config import parse_address
from network.crypto import SigningKey, exchange_public
from network.directory import Directory
from network.geometry import GEOMETRY
from network.handshake import OnionKey
from network.ids import Role, node_id
from relay.aio.server import RelayServer
from relay.core import RelayCore


class Relays:
    """Three relays that listen on loopback, and a directory that lists them; the first one's address may be another's."""

    def __init__(self, *, always_tls: bool) -> None:
        self._tls = always_tls
        self._entries: list[DirectoryEntry] = []
        self.dialer = Dialer(always_tls=always_tls)
        self.signing: list[SigningKey] = []

    async def start(self, stack: list[Any]) -> None:
        """Listen."""
        for number in range(GEOMETRY.hops):
            signing, private = SigningKey(os.urandom(32)), os.urandom(32)
            public, name = exchange_public(private), f"relay-{number}"
            core = RelayCore(node_id(signing.public), [OnionKey(private, public)], lambda: self.directory, os.urandom)
            server = RelayServer(core, dialer=self.dialer)
            port = await _free_port()
            settings: Any = SimpleNamespace(listen=parse_address(f"127.0.0.1:{port}"), serves_tls=self._tls)
            public_port = PublicPort(settings, signing, server.routes())
            await public_port.start()
            stack += [server.close, public_port.close]
            address = f"127.0.0.1:{port}"
            self.signing.append(signing)
            self._entries.append(
                DirectoryEntry(node_id(signing.public), signing.public, public, Role.RELAY, name, address, f"family-{number}")
            )
        stack.append(self.dialer.aclose)

    @property
    def directory(self) -> Directory:
        """All three."""
        entries = tuple(sorted(self._entries, key=lambda each: each.node_id))
        return Directory(DirectoryRecord("sockets", 1, 1, bytes(32), entries), 1)

    @property
    def path(self) -> list[DirectoryEntry]:
        """The one path there is."""
        return list(self._entries)


async def _free_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@asynccontextmanager
async def _standing_relays(*, always_tls: bool) -> AsyncIterator[Relays]:
    stack: list[Any] = []
    relays = Relays(always_tls=always_tls)
    try:
        await relays.start(stack)
        yield relays
    finally:
        for close in reversed(stack):
            await close()


class _Tap:
    """Forwards a connection and keeps what passes; `context` makes it a TLS end of its own."""

    def __init__(self, target: DirectoryEntry, context: Any = None, onward: Any = None) -> None:
        self._target = parse_address(target.address)
        self._context = context
        self._onward = onward
        self.kept: list[bytes] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """The address to connect to instead."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening; what is open ends with its ends."""
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._target.host, self._target.port, ssl=self._onward)
        await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer), return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.kept.append(data)
            writer.write(data)
            await writer.drain()
        writer.close()


async def _build(relays: Relays, address: str) -> tuple[bool, bytes]:
    """Build a circuit whose first relay is sought at `address`. Whether it stands, and its name on the user's link."""
    pool = CircuitPool(os.urandom, time.time, lambda: relays.directory, relays.dialer)
    try:
        first = replace(relays.path[0], address=address)
        circuit = await pool.build([first, *relays.path[1:]], lambda lost: None, 20.0)
        return (False, b"") if circuit is None else (circuit.is_open, circuit.link_id)
    finally:
        await pool.close()


def tapped_link(defended: bool) -> Outcome:
    """Somebody on the user's wire looks for the circuit's name and for cells among what passes."""

    async def attack() -> Outcome:
        async with _standing_relays(always_tls=defended) as relays:
            tap = _Tap(relays.path[0])
            stands, name = await _build(relays, await tap.start())
            await tap.close()
            assert stands
            passed = b"".join(tap.kept)
            return Outcome(name in passed, f"bytes recorded: {'some' if passed else 'none'}; circuit named: {name in passed}")

    return asyncio.run(attack())


def impostor(defended: bool) -> Outcome:
    """Somebody between user and relay ends the user's TLS with a key of its own, and passes everything on."""

    async def attack() -> Outcome:
        with standing(defended, network__aio__tls___PinnedObject__do_handshake=ssl.SSLObject.do_handshake):
            tls.client_context.cache_clear()
            async with _standing_relays(always_tls=True) as relays:
                onward = tls.client_context(relays.path[0].signing_key)
                tap = _Tap(relays.path[0], tls.server_context(SigningKey(os.urandom(32))), onward)
                stands, name = await _build(relays, await tap.start())
                await tap.close()
                read = stands and name in b"".join(tap.kept)
                return Outcome(read, f"circuit built through the impostor: {stands}; cells read: {read}")

    return asyncio.run(attack())


CLIENT = "127.0.0.77"


async def _visit(port: int) -> None:
    """Come from an address of one's own and send what is no HTTP."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(CLIENT, 0))
    writer.write(b"GET /link HTTP/1.1\r\nnot a header\r\n\r\n")
    await reader.read(65536)
    writer.close()


def read_logs(defended: bool) -> Outcome:
    """Who gets a relay's log, at its most talkative, looks for the addresses of those who came."""
    root, server = logging.getLogger(), logging.getLogger("aiohttp.server")
    before = root.handlers[:], root.level, server.filters[:]
    log = io.StringIO()

    async def attack() -> Outcome:
        async with _standing_relays(always_tls=False) as relays:
            with patch("sys.stderr", log):
                configure("relay-0", "debug")
            if not defended:
                server.filters.clear()
            stands, name = await _build(relays, relays.path[0].address)
            assert stands
            await _visit(parse_address(relays.path[0].address).port)
            text = log.getvalue()
            assert name.hex() not in text
            return Outcome(CLIENT in text, f"addresses of users in the log: {text.count(CLIENT)}")

    try:
        return asyncio.run(attack())
    finally:
        root.handlers[:], root.level, server.filters[:] = before


SOCKETS = (
    Attack(
        "tapped-link",
        "First-hop tapping by an ISP",
        "who records the wire between user and first relay",
        "TLS 1.3 off loopback, frames of few sizes (`network/aio/tls.py`, `network/aio/dialer.py`)",
        "plain WebSockets, as on loopback",
        tapped_link,
    ),
    Attack(
        "impostor",
        "First-hop tapping by an ISP",
        "who sits between user and first relay and answers for it",
        "the key that answers must be the proven directory's (`network/aio/tls.py`)",
        "TLS without comparing keys",
        impostor,
    ),
    Attack(
        "read-logs",
        "Crash and log leakage",
        "who gets a relay's log at level debug",
        "no access log, and what a stranger sends is not repeated (`network/aio/logs.py`, `network/aio/listening.py`)",
        "the HTTP library's own words",
        read_logs,
    ),
)
