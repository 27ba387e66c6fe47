"""Fronts on loopback in this process, each beside an engine that does as it is told, and a caller that sees every byte."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from network.config import Address
from network.crypto import SigningKey, sha256
from serving_node.front.aio.front import Front
from serving_node.front.config import FrontConfig, from_mapping


@dataclass
class Engine:
    """A raw HTTP server that answers like an engine and says of its cache what the test says."""

    address: Address
    pieces: int = 3
    status: int = 200
    cached: int = 0
    break_after: int = -1  # pieces of a stream before it is cut; 0 cuts before the head
    silent: bool = False
    big: int = 0
    close: bool = False
    hold: asyncio.Event | None = None
    asked: list[tuple[bytes, dict[bytes, bytes], bytes]] = field(default_factory=list)
    connections: int = 0
    left: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.address.host, self.address.port, limit=1 << 24)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._writers):
                writer.transport.abort()
            self._server = None
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                pass
        self._writers.discard(writer)
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, fields = _head(head)
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        self.asked.append((first, fields, body))
        if self.silent:
            await reader.read(1)
            self.left += 1
            return False
        if self.break_after == 0:
            writer.transport.abort()
            return False
        if self.hold is not None:
            await self.hold.wait()
        if body.startswith(b"{") and json.loads(body).get("stream") and self.status == 200:
            try:
                return await self._stream(writer)
            except ConnectionError:
                self.left += 1
                return False
        answer = {"served_by": self.address.port, "padding": "x" * self.big, "usage": self.usage}
        if self.status != 200:
            answer = {"error": {"message": "no", "type": "server_error", "code": self.status}}
        raw = json.dumps(answer).encode()
        closing = b"connection: close\r\n" if self.close else b""
        start = b"HTTP/1.1 %d Said\r\ncontent-type: application/json\r\n" % self.status
        writer.write(start + closing + b"content-length: %d\r\n\r\n" % len(raw) + raw)
        await writer.drain()
        return not self.close

    @property
    def usage(self) -> dict[str, Any]:
        return {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": self.cached}}

    async def _stream(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(self.pieces):
            if number == self.break_after:
                await writer.drain()
                await asyncio.sleep(0.02)
                writer.transport.abort()
                return False
            await self._event(writer, {"piece": number, "padding": "x" * self.big})
            await asyncio.sleep(0.001)
        await self._event(writer, {"usage": self.usage})
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()
        return True

    async def _event(self, writer: asyncio.StreamWriter, document: dict[str, Any]) -> None:
        event = b"data: " + json.dumps(document).encode() + b"\n\n"
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()


@dataclass
class Answer:
    """One answer as its caller reads it."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def node(self) -> str:
        return self.fields[b"x-planetserve-node"].decode()


class Caller:
    """One connection to a front."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    def post(self, document: Any, path: str = "/v1/chat/completions", extra: str = "") -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        )
        self.send(head.encode() + body)

    async def answer(self) -> Answer:
        first, fields = _head(await self.reader.readuntil(b"\r\n\r\n"))
        body = b""
        if fields.get(b"transfer-encoding") == b"chunked":
            while piece := await self.reader.readexactly(int(await self.reader.readuntil(b"\r\n"), 16) + 2):
                body += piece[:-2]
                if piece == b"\r\n":
                    break
        elif b"content-length" in fields:
            body = await self.reader.readexactly(int(fields[b"content-length"]))
        return Answer(int(first.split()[1]), fields, body)

    async def ask(self, document: Any, **options: Any) -> Answer:
        self.post(document, **options)
        return await self.answer()

    async def rest(self) -> bytes:
        return await self.reader.read()

    async def closed(self) -> bool:
        with suppress(ConnectionError):
            return not await self.reader.read(1)
        return True

    def close(self) -> None:
        self.writer.close()


def _head(raw: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    first, *lines = raw.split(b"\r\n")
    return first, {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines if line)}


class Cluster:
    """Some fronts of one owner, their engines and callers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fronts: list[Front] = []
        self.engines: list[Engine] = []
        self.configs: list[FrontConfig] = []
        self.stops: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._callers: list[Caller] = []

    async def start(self, count: int, policy: str = "ttft", **engine: int) -> None:
        keys = [SigningKey(sha256(b"front", bytes([number]))) for number in range(count)]
        ports = _free_ports(3 * count)
        rows = [{"name": f"f{at}", "key": key.public.hex(), "address": f"127.0.0.1:{ports[at]}"} for at, key in enumerate(keys)]
        for at, key in enumerate(keys):
            raw = {
                "front": {
                    "name": f"f{at}", "listen": f"127.0.0.1:{ports[at]}", "ops": f"127.0.0.1:{ports[count + at]}",
                    "keys": "keys.json", "group": "m", "policy": policy, "stall_s": 1, "answer_s": 60, "drain_s": 5,
                    "max_body": 1 << 20,
                },
                "engine": {"url": f"http://127.0.0.1:{ports[2 * count + at]}", **engine},
                "member": rows,
            }  # fmt: skip
            config = from_mapping(raw, self.folder)
            self.engines.append(Engine(config.engine))
            await self.engines[at].start()
            self.configs.append(config)
            self.fronts.append(Front(config, key))
            self.stops.append(asyncio.Event())
            self.tasks.append(asyncio.create_task(self.fronts[at].run(self.stops[at])))
        await self.until(lambda: all(front.listening for front in self.fronts))

    async def call(self, at: int = 0) -> Caller:
        address = self.configs[at].listen
        caller = Caller(*await asyncio.open_connection(address.host, address.port, limit=1 << 24))
        self._callers.append(caller)
        return caller

    async def met(self) -> None:
        """Every front has spoken with every other, and they hold the same terms: what was said before is void."""
        await self.until(lambda: all(reached for front in self.fronts for reached in front.fellows().values()))
        await self.until(self._agreed)

    def _agreed(self) -> bool:
        terms = {front.group.forwarder.sync.terms for front in self.fronts}
        return len(terms) == 1 and b"" not in terms

    @staticmethod
    async def until(holds: Callable[[], bool]) -> None:
        for _ in range(2000):
            if holds():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("did not come true in 10 s")

    async def close(self) -> None:
        for caller in self._callers:
            caller.close()
        for engine in self.engines:
            await engine.stop()
        for stop in self.stops:
            stop.set()
        await asyncio.gather(*self.tasks)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def new_cluster(tmp_path: Path) -> Callable[[], Cluster]:
    """For a test that brings its own event loop."""
    return lambda: Cluster(tmp_path)
