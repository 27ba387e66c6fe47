"""A gateway on a real port, over a double of `UserNode` whose replies are scripted and signed by real keys."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pytest
from aiohttp import web

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import decode, encode
from network.crypto import SigningKey
from network.directory import Directory
from network.gateway.affinity import Affinity
from network.gateway.aio.answering import GatewayParts
from network.gateway.aio.metrics import GatewayMetrics
from network.gateway.aio.server import GatewayServer
from network.gateway.caching import Caching
from network.ids import Role, node_id
from network.inference import (
    STATEMENT_DOMAIN,
    Finish,
    FrameKind,
    InferenceRequest,
    ReplyFailure,
    ReplyFinal,
    ReplyFrame,
    ReplyStatement,
    statement_bytes,
)
from network.modes import Mode

GROUP = "smollm2-135m-instruct"
MODEL_HASH = b"\x11" * 32
Script = Callable[["FakeOverlay", InferenceRequest, DirectoryEntry], AsyncIterator[ReplyFrame]]


def counter() -> Callable[[int], bytes]:
    """Random bytes that repeat from run to run."""
    state: Iterator[int] = iter(range(10**9))
    return lambda size: sha256(b"%d" % next(state)).digest().ljust(size, b"\0")[:size]


def model_entry(key: SigningKey, **changes: Any) -> DirectoryEntry:
    entry = DirectoryEntry(
        node_id=node_id(key.public),
        signing_key=key.public,
        onion_key=b"\x05" * 32,
        role=Role.MODEL,
        name="model",
        address="127.0.0.1:1",
        family="f",
        group=GROUP,
        model_hash=MODEL_HASH,
        reputation=500_000_000,
        trusted=True,
    )
    return replace(entry, **changes)


def frame(sequence: int, kind: FrameKind, payload: bytes = b"") -> ReplyFrame:
    return ReplyFrame(sequence, kind, payload)


def delta(sequence: int, text: str, request: InferenceRequest) -> ReplyFrame:
    body = {"delta": {"content": text}} if request.endpoint == 1 else {"text": text}
    return frame(sequence, FrameKind.DELTA, json.dumps(body).encode())


def failed(code: str, status: int, message: str = "no") -> ReplyFrame:
    return frame(1, FrameKind.FAILED, encode(ReplyFailure(code, status, message)))


@dataclass
class FakeOverlay:
    """Answers by script; remembers who was asked what, and which replies were closed early."""

    keys: list[SigningKey]
    script: Script
    asked: list[tuple[InferenceRequest, bytes]] = field(default_factory=list)
    modes: list[Mode | None] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def usable(self, node: DirectoryEntry) -> bool:
        return True

    async def ask(self, request: bytes, entry: DirectoryEntry, *, mode: Mode | None = None) -> AsyncGenerator[ReplyFrame, None]:
        self.modes.append(mode)
        decoded = decode(InferenceRequest, request)
        self.asked.append((decoded, entry.node_id))
        try:
            async for each in self.script(self, decoded, entry):
                yield each
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled.set()
            raise

    def final(self, sequence: int, request: InferenceRequest, node: bytes, tokens: int = 3, **changes: Any) -> ReplyFrame:
        """A FINAL frame that is right, except for `changes` to its statement, signed after them."""
        key = next(key for key in self.keys if node_id(key.public) == node)
        statement = ReplyStatement(
            STATEMENT_DOMAIN,
            request.nonce,
            node,
            MODEL_HASH,
            b"\x02" * 32,
            request.sampling,
            tuple(range(1, tokens + 1)),
            Finish.STOP,
        )
        statement = replace(statement, **changes)
        body = ReplyFinal(statement, key.sign(statement_bytes(statement)), 7, tokens, 5, (node,))
        return frame(sequence, FrameKind.FINAL, encode(body))


async def hello(overlay: FakeOverlay, request: InferenceRequest, entry: DirectoryEntry) -> AsyncIterator[ReplyFrame]:
    """The reply of an honest node."""
    yield frame(0, FrameKind.ACCEPTED, encode(ReplyFinal(route=(entry.node_id,))))
    for at, word in enumerate(("Hello", ", ", "world"), 1):
        yield delta(at, word, request)
    yield overlay.final(4, request, entry.node_id)


@dataclass
class Gateway:
    """What a test holds of a running gateway."""

    url: str
    overlay: FakeOverlay
    metrics: GatewayMetrics
    entries: list[DirectoryEntry]
    parts: Any = None
    unready: str = ""


@pytest.fixture
def scripts() -> Any:
    """The frame builders, for tests that write their own scripts."""
    return {"frame": frame, "delta": delta, "failed": failed, "hello": hello, "model_entry": model_entry, "group": GROUP}


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    keys = [SigningKey(bytes([number]) * 32) for number in (1, 2, 3)]
    overlay = FakeOverlay(keys, hello)
    held = Gateway("", overlay, GatewayMetrics(), [model_entry(key) for key in keys])
    parts = GatewayParts(
        overlay=overlay,
        directory=lambda: Directory(DirectoryRecord(chain_id="c", entries=tuple(held.entries)), 1),
        affinity=Affinity(),
        metrics=held.metrics,
        rng=counter(),
        clock=lambda: 1_700_000_000.0,
        patience=0.05,
    )
    held.parts = parts
    server = GatewayServer(parts, lambda: held.unready, "", 600, 256, Caching(b"\x09" * 32))
    runner = web.AppRunner(server.app(), handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    held.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield held
    await runner.cleanup()
