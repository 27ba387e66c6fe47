"""A user who leaves stops the engine: the real model behind real relays, the whole way from the user's end."""

import asyncio
import json
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from evals.overlay.loopback import running
from network.aio.user_node import UserNode
from network.codec import encode
from network.config import Address
from network.crypto import sha256
from network.inference import Endpoint, FrameKind, InferenceRequest, Sampling
from serving_node.aio.clove_server import ReplyStream
from serving_node.aio.embedded import EmbeddedEngine
from serving_node.config import EngineConfig
from serving_node.models.catalogue import PUBLISHED, models_folder

MODEL = models_folder(os.environ, Path.home()) / PUBLISHED.name
PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def engine() -> AsyncIterator[EmbeddedEngine]:
    if not MODEL.is_file():
        pytest.skip(f"{MODEL} is not there: run make setup")
    address = Address("127.0.0.1", free_port())
    embedded = EmbeddedEngine(EngineConfig("embedded", "tiny", MODEL, sha256(b"model"), address, 1, 1024, 2, "", ""))
    await embedded.start()
    yield embedded
    await embedded.close()


async def test_a_user_who_leaves_stops_the_engine(net: Any, engine: EmbeddedEngine) -> None:
    node = await net.add(engine=engine)
    body = {"messages": [{"role": "user", "content": "Count from one to a thousand."}]}
    request = InferenceRequest("tiny", Endpoint.CHAT, bytes(32), Sampling(0, 0, 0, 400), json.dumps(body).encode(), 600_000)

    async def answer(raw: bytes, stream: ReplyStream) -> None:
        await node.answering.answer_bytes(raw, stream.send)

    async with running(random.Random(1), answer) as network:
        user = UserNode(network.directory, os.urandom, path_sets=1)
        await user.start()
        try:
            async with asyncio.timeout(PATIENCE):
                async with aclosing(user.ask(encode(request), network.model)) as frames:
                    texts = 0
                    async for frame in frames:
                        assert frame.kind != FrameKind.FAILED
                        texts += frame.kind == FrameKind.DELTA
                        if texts == 3:
                            break
                assert node.answering.admission.running == 1
                while node.answering.admission.running or (await engine.sample()).running:
                    await asyncio.sleep(0.01)
        finally:
            await user.close()
    assert user.requests()[-1]["outcome"] == "cancelled"
