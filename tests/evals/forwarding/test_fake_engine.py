"""Fake engines: what their cache keeps, when prompts are read, and what routers are answered."""

import asyncio
import json
from functools import partial

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.forwarding.fake_engine import BLOCK_BYTES, BLOCK_TOKENS, BlockCache, EnginePort, EngineSpeed, FakeEngine, rendered

CHAT = {"model": "fake", "messages": [{"role": "user", "content": "ab " * 200}], "max_tokens": 3}


def test_only_whole_blocks_of_an_equal_beginning_are_cached() -> None:
    cache = BlockCache(100)
    assert cache.read(b"x" * (3 * BLOCK_BYTES + 5)) == 0
    assert cache.read(b"x" * (3 * BLOCK_BYTES + 5)) == 3 * BLOCK_TOKENS
    assert cache.read(b"y" + b"x" * 3 * BLOCK_BYTES) == 0


def test_a_full_cache_forgets_what_was_used_longest_ago_and_ends_before_beginnings() -> None:
    cache = BlockCache(4)
    cache.read(b"a" * 2 * BLOCK_BYTES)
    cache.read(b"b" * 2 * BLOCK_BYTES)
    cache.read(b"a" * 2 * BLOCK_BYTES)
    cache.read(b"c" * BLOCK_BYTES)
    assert cache.read(b"a" * 2 * BLOCK_BYTES) == 2 * BLOCK_TOKENS
    assert cache.read(b"b" * 2 * BLOCK_BYTES) == BLOCK_TOKENS


@given(st.lists(st.binary(min_size=0, max_size=4 * BLOCK_BYTES), max_size=30), st.integers(1, 12))
def test_the_cache_never_holds_more_than_it_may(prompts: list[bytes], capacity: int) -> None:
    cache = BlockCache(capacity)
    for prompt in prompts:
        cache.read(prompt)
        assert len(cache) <= capacity


def test_prompts_are_read_one_after_the_other_and_cached_tokens_take_no_time() -> None:
    clock = [100.0]
    engine = FakeEngine(EngineSpeed(blocks=64, token_us=1000.0, step_ms=1.0), lambda: clock[0])
    prompt = b"z" * 16 * BLOCK_BYTES
    assert engine.read(prompt) == (256, 0, pytest.approx(100.257))
    # The same again: all but the last token is cached, and it waits for the first.
    assert engine.read(prompt) == (256, 255, pytest.approx(100.259))
    assert engine.waiting == 1
    clock[0] = 200.0
    assert engine.waiting == 0
    assert engine.read(prompt)[2] == pytest.approx(200.002)
    assert (engine.counts.requests, engine.counts.prompt_tokens, engine.counts.cached_tokens) == (3, 768, 510)


def test_chats_are_rendered_with_their_roles() -> None:
    assert rendered({"messages": [{"role": "user", "content": "hi"}]}) == b"<|user|>hi<|assistant|>"
    assert rendered({"prompt": "hi"}) == b"hi"


async def test_it_answers_what_routers_and_users_ask() -> None:
    loop = asyncio.get_running_loop()
    engine = FakeEngine(EngineSpeed(token_us=0.0, step_ms=0.0, answer_ms=0.0), loop.time)
    server = await loop.create_server(partial(EnginePort, engine), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, aiohttp.ClientSession() as client:
        for path in ("/health", "/v1/models", "/get_server_info", "/metrics", "/fake/stats"):
            async with client.get(url + path) as answer:
                assert answer.status == 200, path
        async with client.get(url + "/nothing") as answer:
            assert answer.status == 404
        async with client.post(url + "/v1/chat/completions", json=CHAT) as answer:
            whole = await answer.json()
        assert whole["choices"][0]["message"]["content"] == " word" * 3
        assert whole["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
        async with client.post(url + "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
            events = [line for line in (await answer.text()).split("\n\n") if line]
        assert len(events) == 4 and events[-1] == "data: [DONE]"
        usage = json.loads(events[2].removeprefix("data: "))["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] // BLOCK_TOKENS * BLOCK_TOKENS
        async with client.post(url + "/v1/chat/completions/render", json=CHAT) as answer:
            assert len((await answer.json())["token_ids"]) == usage["prompt_tokens"]
        async with client.post(url + "/fake/reset", json={"blocks": 7}) as answer:
            assert answer.status == 200
        assert engine.speed.blocks == 7 and engine.counts.requests == 0
        async with client.post(url + "/fake/reset", json={"colour": 7}) as answer:
            assert answer.status == 400
