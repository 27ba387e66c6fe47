"""A canary in a prompt, its answer and everything around it, through gateway, user node, relays and model node at debug."""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from network.aio.dialer import Dialer
from network.aio.logs import configure
from network.config import Address
from network.crypto import SigningKey
from network.gateway.affinity import Affinity
from network.gateway.aio.answering import GatewayParts
from network.gateway.aio.metrics import GatewayMetrics
from network.gateway.aio.server import GatewayServer
from network.gateway.caching import Caching
from network.ids import NodeId, node_id
from network.inference import Finish
from serving_node.aio.answering import Answering
from serving_node.aio.group import Group
from serving_node.aio.metrics import ServingMetrics
from serving_node.aio.peers import PeerClient
from serving_node.asked import Asked
from serving_node.config import EngineConfig
from serving_node.failure import ENGINE_FAILED, ServeError
from serving_node.generation import Ended, EngineSample, GenerationEvent, Job, Piece, Prefilled

CANARY = "quaking-aspen-7391"
MODEL, HASH = "tiny", b"\x11" * 32


class CanaryEngine:
    """Repeats the canary, or fails with it in its mouth."""

    healthy = True
    salts = False
    on_restart = staticmethod(lambda: None)
    mode = "answer"

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def render(self, asked: Asked) -> tuple[int, ...]:
        if self.mode == "bug":
            raise ValueError(f"cannot tokenise {CANARY}: {asked}")
        return tuple(CANARY.encode())

    async def generate(self, job: Job) -> AsyncGenerator[GenerationEvent]:
        yield Prefilled(len(job.prompt_ids), 0)
        yield Piece(CANARY)
        if self.mode == "refuse":
            raise ServeError(ENGINE_FAILED, f"the engine choked on {CANARY}")
        if self.mode == "slow":
            await asyncio.sleep(30)
        yield Ended(Finish.STOP, (1, 2), 0)

    async def sample(self) -> EngineSample:
        return EngineSample()


@pytest.fixture(params=["line", "json"])
def debug_logs(request: pytest.FixtureRequest) -> Iterator[StringIO]:
    """Logs of a role at debug, as its process would write them."""
    root, written = logging.getLogger(), StringIO()
    before, level = root.handlers[:], root.level
    configure("canary", "debug", request.param)
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    yield written
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
async def gateway(debug_logs: StringIO, overlay: Any) -> AsyncIterator[tuple[str, CanaryEngine, GatewayParts]]:
    key, engine, dialer = SigningKey(bytes(range(32))), CanaryEngine(), Dialer()
    own, registry = NodeId(node_id(key.public)), CollectorRegistry()
    group = Group(own, key, overlay.directory, MODEL, "ttft", os.urandom, dialer, registry=registry)
    config = EngineConfig("embedded", MODEL, Path("m"), HASH, Address("127.0.0.1", 1), 1, 4096, 2, "", "")
    metrics = ServingMetrics(MODEL, registry)
    answering = Answering(config, key, engine, group, overlay.directory, PeerClient(dialer), metrics, os.urandom)
    _, entry = await overlay.add_model_node(lambda raw, stream: answering.answer_bytes(raw, stream.send))
    at = overlay.entries.index(entry)
    overlay.entries[at] = replace(entry, node_id=own, signing_key=key.public, group=MODEL, model_hash=HASH)
    user = await overlay.add_user(path_sets=1)
    parts = GatewayParts(user, overlay.directory, Affinity(), GatewayMetrics(), os.urandom, time.time)
    runner = web.AppRunner(
        GatewayServer(parts, lambda: "", MODEL, 0, 64, Caching(bytes(32))).app(),
        handler_cancellation=True,
        shutdown_timeout=0.1,
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "http://{}:{}/v1".format(*runner.addresses[0][:2]), engine, parts
    await runner.cleanup()
    await dialer.aclose()


async def test_no_line_of_any_role_says_what_was_asked_or_answered(
    gateway: tuple[str, CanaryEngine, GatewayParts], overlay: Any, debug_logs: StringIO, monkeypatch: Any
) -> None:
    url, engine, parts = gateway
    body = {"model": MODEL, "messages": [{"role": "user", "content": CANARY}], "user": CANARY}
    seen: list[str] = []
    ports: set[int] = set()

    async def post(path: str = "/chat/completions", **options: Any) -> int:
        headers = {"Authorization": f"Bearer {CANARY}", "traceparent": CANARY}
        async with aiohttp.ClientSession() as session, session.post(url + path, headers=headers, **options) as response:
            ports.add(response.connection.transport.get_extra_info("sockname")[1] if response.connection else 0)
            seen.append(await response.text())
            return response.status

    assert await post(json=body) == 200 and CANARY in seen[-1]
    assert await post(json={**body, "stream": True}) == 200 and "[DONE]" in seen[-1]
    for mode, status in (("refuse", 502), ("bug", 502)):
        engine.mode = mode
        assert await post(json=body) == status
    engine.mode = "slow"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await post(json={**body, "stream": True})
    engine.mode = "answer"
    assert await post(data=b'{"messages": ' + CANARY.encode()) == 400
    assert await post(json={**body, "model": CANARY}) == 404
    assert await post(f"/{CANARY}", json=body) == 404
    await overlay.kill_relay(next(iter(overlay.relays)))
    assert await post(json=body) == 200

    def broken(*_: Any) -> Any:
        raise RuntimeError(f"a bug while asking {CANARY}")

    monkeypatch.setattr(parts.overlay, "ask", broken)
    assert await post(json=body) == 500
    logged = debug_logs.getvalue()
    assert "a request ended in a bug" in logged and "a request could not be answered" in logged, "nothing was logged at all"
    assert CANARY not in logged and json.dumps(CANARY)[1:-1] not in logged and CANARY.encode().hex() not in logged
    assert not [port for port in ports - {0} if f":{port}" in logged]
