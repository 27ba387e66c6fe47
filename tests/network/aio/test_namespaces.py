"""Links between two machines, in two network namespaces with a tap on the cable: TLS, pinned keys, constant records."""

import asyncio
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from network.aio.circuits import CircuitPool
from network.aio.dialer import UNREACHABLE, Dialer
from network.aio.links import CELL_FRAME_LIMIT, CELL_PATH
from network.aio.listening import PublicPort
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.config import Address, NodeConfig
from network.crypto import SigningKey, exchange_public
from network.directory import Directory
from network.geometry import GEOMETRY
from network.handshake import OnionKey
from network.ids import Role, node_id
from relay.aio.server import RelayServer
from relay.core import RelayCore

CLONE_NEWNET = 0x40000000
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Machine(threading.Thread):
    """A thread that lives in a network namespace and runs one coroutine there."""

    def __init__(self, namespace: str, work: Callable[[], Awaitable[Any]]) -> None:
        super().__init__()
        self._namespace = namespace
        self._work = work
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with Path(f"/run/netns/{self._namespace}").open() as there:
                if _libc.setns(there.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "cannot enter a network namespace")
            self.result = asyncio.run(self._work())  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it again
            self.error = error

    def outcome(self) -> Any:
        self.join(30)
        if self.error is not None:
            raise self.error
        return self.result


@pytest.fixture
def cable() -> Iterator[tuple[str, str]]:
    """Two namespaces, 10.77.0.1 and 10.77.0.2, joined by a virtual cable."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the ip command")
    names = f"psl{os.getpid()}a", f"psl{os.getpid()}b"
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ends = ["netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1]]
        ip("link", "add", "cable", *ends)
        for name, address in zip(names, ("10.77.0.1/24", "10.77.0.2/24"), strict=True):
            ip("-n", name, "addr", "add", address, "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
    except subprocess.CalledProcessError as error:
        _delete(names)
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
    yield names
    _delete(names)


def _delete(names: tuple[str, ...]) -> None:
    for name in names:
        with suppress(subprocess.CalledProcessError):
            ip("netns", "delete", name)


class Relays:
    """Three relays of one machine, listening off loopback; started and stopped inside its namespace."""

    def __init__(self) -> None:
        self.keys = [SigningKey(bytes([number]) * 32) for number in (1, 2, 3)]
        self.privates = [bytes([number]) * 32 for number in (4, 5, 6)]
        self.entries = tuple(
            DirectoryEntry(
                node_id(key.public),
                key.public,
                exchange_public(private),
                Role.RELAY,
                f"r{at}",
                f"10.77.0.1:{7001 + at}",
                f"f{at}",
            )
            for at, (key, private) in enumerate(zip(self.keys, self.privates, strict=True))
        )
        self.directory = Directory(DirectoryRecord("c", 1, 1, b"", tuple(sorted(self.entries, key=lambda e: e.node_id))), 1)
        self.listening = threading.Event()
        self.stop = threading.Event()

    async def work(self) -> None:
        async with AsyncExitStack() as stack:
            for at, (key, private) in enumerate(zip(self.keys, self.privates, strict=True)):
                onion = [OnionKey(private, exchange_public(private))]
                server = RelayServer(RelayCore(node_id(key.public), onion, lambda: self.directory, os.urandom))
                here = Address("10.77.0.1", 7001 + at)
                config = NodeConfig("r", "c", here, Address("127.0.0.1", 1), "", (), Path(), Path(), "info")
                port = PublicPort(config, key, server.routes())
                await port.start()
                stack.push_async_callback(port.close)
                stack.push_async_callback(server.close)
            self.listening.set()
            while not self.stop.is_set():
                await asyncio.sleep(0.02)


class Tap:
    """Everything that passes one interface, as TCP streams."""

    def __init__(self, namespace: str) -> None:
        opened = Machine(namespace, self._open)
        opened.start()
        self._socket: socket.socket = opened.outcome()

    @staticmethod
    async def _open() -> socket.socket:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        tap.bind(("cable", 0))
        tap.setblocking(False)
        return tap

    def streams(self) -> dict[tuple[int, int], bytes]:
        """The bytes of each direction by (source port, destination port); the tap is closed."""
        parts: dict[tuple[int, int], dict[int, bytes]] = {}
        with suppress(BlockingIOError):
            while True:
                raw = self._socket.recv(1 << 17)
                if raw[12:14] != b"\x08\x00" or raw[23] != 6:
                    continue
                start = 14 + (raw[14] & 15) * 4
                source, target, sequence = struct.unpack_from(">HHI", raw, start)
                payload = raw[start + (raw[start + 12] >> 4) * 4 : 14 + int.from_bytes(raw[16:18], "big")]
                if payload:
                    parts.setdefault((source, target), {})[sequence] = payload
        self._socket.close()
        return {ports: b"".join(part for _, part in sorted(found.items())) for ports, found in parts.items()}


def sizes(raw: bytes) -> list[int]:
    """The lengths of a stream's TLS records, headers included. Fails when it is not whole records throughout."""
    found, at = [], 0
    while at < len(raw):
        assert raw[at] in (20, 21, 22, 23) and raw[at + 1] == 3, "something else than TLS passed the cable"
        length = 5 + int.from_bytes(raw[at + 3 : at + 5], "big")
        found.append(length)
        at += length
    assert at == len(raw)
    return found


async def visit(relays: Relays) -> int:
    """A user on the other machine: one circuit over the cable, fifty cells on it."""
    pool = CircuitPool(os.urandom, time.time, lambda: relays.directory)
    try:
        circuit = await pool.build(relays.entries, lambda _: None)
        assert circuit is not None, "no circuit over the cable"
        for _ in range(50):
            circuit.send(bytes(GEOMETRY.forward_body))
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.1)
        return pool.open_circuits
    finally:
        await pool.close()


async def visit_another(relays: Relays) -> str:
    """A user whose directory lists another key at the same address."""
    dialer = Dialer()
    impostor = replace(relays.entries[0], signing_key=relays.keys[1].public)
    try:
        await dialer.open_socket(impostor, CELL_PATH, CELL_FRAME_LIMIT)
    except UNREACHABLE as error:
        return type(error).__name__
    finally:
        await dialer.aclose()
    return "connected"


def on(namespace: str, work: Callable[[], Awaitable[T]]) -> T:
    machine = Machine(namespace, work)
    machine.start()
    outcome: T = machine.outcome()
    return outcome


def test_off_loopback_a_tap_sees_constant_records_and_a_wrong_key_is_refused(cable: tuple[str, str]) -> None:
    relays = Relays()
    host = Machine(cable[0], relays.work)
    host.start()
    try:
        assert relays.listening.wait(10), host.error
        tap = Tap(cable[1])
        on(cable[1], lambda: visit(relays))
        streams = tap.streams()
        assert on(cable[1], lambda: visit_another(relays)) == "ClientConnectorCertificateError"
    finally:
        relays.stop.set()
        host.join(30)
    assert len(streams) == 2, "one link over the cable, both ways"
    for (source, _), raw in streams.items():
        framing = 26 if source == 7001 else 30
        cells = [size for size in sizes(raw) if size >= GEOMETRY.cell]
        assert cells and {(size - framing) % GEOMETRY.cell for size in cells} == {0}
        for word in (b"GET ", b"HTTP/", b"Upgrade", b"/link", *(key.public for key in relays.keys)):
            assert word not in raw
        assert len([size for size in sizes(raw) if size < GEOMETRY.cell]) <= 9, "handshake, upgrade and close"
