"""The embedded engine with the real model: what verification and clients rely on, seen on the real thing."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import ClientSession

from network.config import Address
from network.inference import Endpoint, Finish, InferenceRequest, Sampling, sampling_seed
from serving_node.aio.embedded import EmbeddedEngine
from serving_node.asked import Asked, read_request
from serving_node.config import EngineConfig
from serving_node.engine import EngineStartError
from serving_node.failure import CONTEXT_LENGTH_EXCEEDED, ServeError
from serving_node.generation import Ended, Job, Piece, Prefilled
from serving_node.models.catalogue import PUBLISHED, models_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = models_folder(os.environ, Path.home()) / PUBLISHED.name
NODE, HASH = bytes(20), bytes(32)
# What every chat begins with: the template's system message.
TEMPLATE_TOKENS = 30
PLAIN = Sampling(600, 0, 0, 24)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def config(**changes: Any) -> EngineConfig:
    settings: dict[str, Any] = {
        "kind": "embedded",
        "group": "g",
        "model_path": MODEL,
        "model_hash": HASH,
        "address": Address("127.0.0.1", free_port()),
        "threads": 1,
        "context": 2048,
        "slots": 2,
        "url": "",
        "command": "",
    }
    return EngineConfig(**{**settings, **changes})


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[EmbeddedEngine]:
    if not MODEL.is_file():
        pytest.skip(f"{MODEL} is not there: run make setup")
    embedded = EmbeddedEngine(config())
    await embedded.start()
    yield embedded
    await embedded.close()


@dataclass
class Answer:
    text: str
    ended: Ended
    prefilled: list[Prefilled]
    pieces: list[Piece]


def asked(content: Any, **more: Any) -> Asked:
    body = {"messages": [{"role": "user", "content": content}], **more}
    return read_request(InferenceRequest("g", Endpoint.CHAT, bytes(32), PLAIN, json.dumps(body).encode(), 0))


async def answer(engine: EmbeddedEngine, what: Asked, sampling: Sampling = PLAIN, nonce: bytes = bytes(32)) -> Answer:
    job = Job(what, await engine.render(what), sampling, sampling_seed(nonce, NODE, HASH), sampling.max_tokens)
    events = [event async for event in engine.generate(job)]
    pieces = [event for event in events if isinstance(event, Piece)]
    assert isinstance(events[-1], Ended)
    return Answer("".join(p.text for p in pieces), events[-1], [e for e in events if isinstance(e, Prefilled)], pieces)


async def piece_text(engine: EmbeddedEngine, ids: tuple[int, ...]) -> str:
    return str((await engine._http.post("/detokenize", {"tokens": list(ids)}))["content"])


async def test_text_and_ids_are_the_same_answer(engine: EmbeddedEngine) -> None:
    got = await answer(engine, asked("Name the capital of France."), Sampling(0, 0, 0, 24))
    assert "Paris" in got.text and len(got.pieces) > 3
    ids = got.ended.token_ids
    assert got.ended.finish == (Finish.STOP if ids[-1] == 2 else Finish.LENGTH)
    assert await piece_text(engine, ids[:-1] if ids[-1] == 2 else ids) == got.text


async def test_ids_of_emoji_are_complete_and_those_that_were_sampled(engine: EmbeddedEngine) -> None:
    what = asked("Repeat exactly: 😊🎉日本語😊🎉日本語")
    got = await answer(engine, what, Sampling(0, 0, 0, 30))
    assert "😊" in got.text
    body = {"prompt": list(await engine.render(what)), "n_predict": 30, "temperature": 0, "return_tokens": True}
    whole = await engine._http.post("/completion", body, patient=True)
    assert list(got.ended.token_ids) == whole["tokens"]


async def test_an_answer_cut_inside_an_emoji_has_all_its_ids(engine: EmbeddedEngine) -> None:
    got = await answer(engine, asked("Repeat exactly: 😊🎉日本語😊🎉日本語"), Sampling(0, 0, 0, 7))
    whole = await answer(engine, asked("Repeat exactly: 😊🎉日本語😊🎉日本語"), Sampling(0, 0, 0, 30))
    assert got.ended == Ended(Finish.LENGTH, whole.ended.token_ids[:7], got.ended.cached_tokens)
    assert whole.text.startswith(got.text) and not got.text.endswith("�")


async def test_the_nonce_decides_the_answer(engine: EmbeddedEngine) -> None:
    what, hot = asked("Write a strange sentence."), Sampling(1000, 0, 0, 20)
    await answer(engine, what, hot)  # from here on the prompt is cached, so that the engine's rounding is the same too
    first, again, other = [await answer(engine, what, hot, nonce) for nonce in (bytes(32), bytes(32), bytes(31) + b"1")]
    assert first.ended.token_ids == again.ended.token_ids and first.text == again.text
    assert first.ended.token_ids != other.ended.token_ids


async def test_tokens_follow_from_the_public_noise(engine: EmbeddedEngine) -> None:
    """Scheme llamacpp-mt19937-v1: u from mt19937(seed) picks the token in the cumulated probabilities, in id order."""
    what, vocabulary = asked("Write a strange sentence."), 49152
    got = await answer(engine, what, Sampling(1000, 0, 0, 6))
    prompt = list(await engine.render(what))
    stream = np.random.RandomState(sampling_seed(bytes(32), NODE, HASH))
    for at, token in enumerate(got.ended.token_ids):
        low, high = (int(x) for x in stream.randint(0, 2**32, size=2, dtype=np.uint64))
        u = (low + high * 2**32) / 2**64
        body = {"prompt": prompt + list(got.ended.token_ids[:at]), "n_predict": 1, "n_probs": vocabulary, "temperature": 0}
        seen = (await engine._http.post("/completion", body, patient=True))["completion_probabilities"][0]["top_logprobs"]
        probability = np.zeros(vocabulary)
        probability[[row["id"] for row in seen]] = np.exp([row["logprob"] for row in seen])
        cumulated = np.cumsum(probability / probability.sum())
        below = cumulated[token - 1] if token else 0.0
        assert below - 0.01 <= u <= cumulated[token] + 0.01


async def test_a_shared_prefix_is_read_once(engine: EmbeddedEngine) -> None:
    story = "The lighthouse keeper counted ships. " * 40
    cold = await answer(engine, asked(story + "How many?"))
    warm = await answer(engine, asked(story + "Who counted?"))
    assert cold.ended.cached_tokens < 100 and warm.ended.cached_tokens > 250
    assert warm.prefilled[0].cached_tokens == warm.ended.cached_tokens
    assert warm.prefilled[-1].processed_tokens == len(await engine.render(asked(story + "Who counted?")))


async def test_a_stop_string_ends_the_answer(engine: EmbeddedEngine) -> None:
    question = "Name three cities and say what they are known for."
    whole = await answer(engine, asked(question), Sampling(0, 0, 0, 40))
    word = whole.text.split()[8]
    got = await answer(engine, asked(question, stop=[word, "never said"]), Sampling(0, 0, 0, 40))
    assert got.text == whole.text[: whole.text.index(word)] and got.ended.finish == Finish.STOP
    assert (await piece_text(engine, got.ended.token_ids)).startswith(got.text + word)
    assert len(got.ended.token_ids) < len(whole.ended.token_ids)


async def test_a_json_schema_is_kept(engine: EmbeddedEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "people": {"type": "integer", "maximum": 99}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "c", "schema": schema}}
    got = await answer(engine, asked("Describe Paris as JSON.", response_format=form), Sampling(0, 0, 0, 80))
    assert set(json.loads(got.text)) == {"city", "people"} and len(got.ended.token_ids) > 5


async def test_logprobs_come_when_asked_for(engine: EmbeddedEngine) -> None:
    got = await answer(engine, asked("Name a colour.", logprobs=True, top_logprobs=2), Sampling(0, 0, 0, 4))
    for piece in got.pieces:
        assert all(token.logprob <= 0 and len(token.top) == 2 for token in piece.logprobs)
    assert sum(len(piece.logprobs) for piece in got.pieces) >= 3
    assert not (await answer(engine, asked("Name a colour."), Sampling(0, 0, 0, 4))).pieces[0].logprobs


async def test_tools_go_through_the_engine_and_keep_their_ids(engine: EmbeddedEngine) -> None:
    tools = [{"type": "function", "function": {"name": "w", "parameters": {"type": "object", "properties": {}}}}]
    got = await answer(engine, asked("How is the weather?", tools=tools), Sampling(0, 0, 0, 8))
    assert len(got.ended.token_ids) <= 8 and await piece_text(engine, got.ended.token_ids) == got.text


async def test_too_long_a_prompt_is_the_callers_fault(engine: EmbeddedEngine) -> None:
    with pytest.raises(ServeError) as refused:
        await answer(engine, asked("x " * 1100))
    assert refused.value.code == CONTEXT_LENGTH_EXCEEDED


async def test_nothing_stays_of_an_unshared_prompt_however_soon_somebody_probes(engine: EmbeddedEngine) -> None:
    shared, secret = asked("Tell me about rivers. " * 8), asked("Our secret is long and boring. " * 8)
    await answer(engine, shared, Sampling(0, 0, 0, 1))
    assert (await answer(engine, shared, Sampling(0, 0, 0, 1))).ended.cached_tokens > 50
    job = Job(secret, await engine.render(secret), Sampling(0, 0, 0, 6), 1, 6, unshared=True)
    probes: list[asyncio.Task[Answer]] = []
    async with aclosing(engine.generate(job)) as events:
        async for event in events:
            assert not isinstance(event, Prefilled | Ended) or event.cached_tokens == 0
            if isinstance(event, Piece) and not probes:
                probes.append(asyncio.create_task(answer(engine, secret, Sampling(0, 0, 0, 1))))
    # What both prompts begin with is the template's, which other prompts have left.
    assert (await probes[0]).ended.cached_tokens < TEMPLATE_TOKENS
    # The probe itself is shared, so it is found from now on; an unshared prompt does not find it.
    assert (await answer(engine, secret, Sampling(0, 0, 0, 1))).ended.cached_tokens > 50
    events_again = [event async for event in engine.generate(job)]
    assert isinstance(events_again[-1], Ended) and events_again[-1].cached_tokens == 0


async def test_an_unshared_prompt_that_is_cancelled_leaves_nothing(engine: EmbeddedEngine) -> None:
    secret = asked("A secret that nobody waited for. " * 12)
    job = Job(secret, await engine.render(secret), Sampling(0, 0, 0, 200), 1, 200, unshared=True)
    async with aclosing(engine.generate(job)) as events:
        async for event in events:
            if isinstance(event, Piece):
                break
    assert (await answer(engine, secret, Sampling(0, 0, 0, 1))).ended.cached_tokens < TEMPLATE_TOKENS


async def test_closing_an_answer_frees_the_engine(engine: EmbeddedEngine) -> None:
    for content, limit in (("y " * 900, 10), ("Write a long story.", 500)):
        what = asked(content)
        job = Job(what, await engine.render(what), Sampling(600, 0, 0, limit), 1, limit)
        async with aclosing(engine.generate(job)) as events:
            async for event in events:
                if isinstance(event, Piece) or limit == 10:
                    break
        for _ in range(200):
            if (await engine.sample()).running == 0:
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the engine works on")


async def test_it_answers_nobody_without_the_key(engine: EmbeddedEngine) -> None:
    async with ClientSession() as session, session.get(engine._http.base + "/metrics") as response:
        assert response.status == 401


async def test_it_measures_itself(engine: EmbeddedEngine) -> None:
    sample = await engine.sample()
    assert sample.running == 0 and sample.prefill_tokens_per_s > 1


async def test_a_dead_engine_comes_back_and_a_closed_one_is_gone() -> None:
    embedded, restarts = EmbeddedEngine(config(context=512)), []
    embedded.on_restart = lambda: restarts.append(1)
    await embedded.start()
    try:
        first = embedded._child._process
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        await first.wait()
        for _ in range(600):
            second = embedded._child._process
            if embedded.healthy and second is not first:
                break
            await asyncio.sleep(0.05)
        got = await answer(embedded, asked("Hi"), Sampling(0, 0, 0, 2))
        assert got.ended.token_ids and restarts == [1]
    finally:
        await embedded.close()
    assert second is not None and second.returncode is not None


async def test_a_start_that_cannot_work_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineStartError, match="does not exist"):
        await EmbeddedEngine(config(model_path=tmp_path / "none.gguf")).start()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    for changes, words in (({"model_path": broken}, "could not load"),):
        embedded = EmbeddedEngine(config(**changes))
        with pytest.raises(EngineStartError, match=words):
            await embedded.start()
        await embedded.close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EngineStartError, match="cannot be used"):
            await EmbeddedEngine(config(address=Address("127.0.0.1", taken.getsockname()[1]))).start()
