"""The gateway's edge with two real SDKs: whoever asks the same sends the same bytes, and nothing of either is in them."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import openai
import pytest
from huggingface_hub import InferenceClient

from network.codec import encode

QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a clove?"}]
# What the clients send of themselves; the SDKs add their names, versions, platforms and retry counts.
MARKS = ("fp-org", "fp-project", "fp-key", "fp-user", "fp-trace", "fp-meta", "fp-agent")


async def with_openai(gateway: Any, model: str, **options: Any) -> None:
    headers = {"traceparent": "fp-trace", "x-request-id": "fp-trace", "User-Agent": "fp-agent", "baggage": "user=fp-user"}
    async with openai.AsyncOpenAI(
        base_url=gateway.url, api_key="fp-key", organization="fp-org", project="fp-project", default_headers=headers
    ) as sdk:
        await sdk.chat.completions.create(
            model=model,
            messages=QUESTION,  # type: ignore[arg-type]
            user="fp-user",
            metadata={"run": "fp-meta"},
            safety_identifier="fp-user",
            prompt_cache_key="fp-user",
            extra_query={"trace": "fp-trace"},
            **options,
        )


async def with_hugging_face(gateway: Any, model: str, **options: Any) -> None:
    sdk = InferenceClient(base_url=gateway.url, api_key="fp-key-2", headers={"x-trace": "fp-trace", "user-agent": "fp-agent-2"})
    await asyncio.to_thread(
        sdk.chat_completion, model=model, messages=QUESTION, extra_body={"user": "fp-user-2", "metadata": "fp-meta"}, **options
    )


@pytest.mark.parametrize("ask", [with_openai, with_hugging_face])
async def test_nothing_of_an_sdk_travels(gateway: Any, scripts: Any, ask: Callable[..., Any]) -> None:
    await ask(gateway, scripts["group"], temperature=0.2, max_tokens=50)
    (request, _), *more = gateway.overlay.asked
    assert not more
    assert not request.no_share and not request.cache_salt
    raw = encode(request).lower()
    for mark in (*MARKS, "openai", "hugging", "python", "stainless", "linux", "httpx", "aiohttp", "bearer"):
        assert mark.encode() not in raw
    assert set(name for name in type(request).__dataclass_fields__) == {
        "model", "endpoint", "nonce", "sampling", "body", "deadline_ms", "no_share", "cache_salt",
    }, "a new field of the request: does it tell callers apart?"  # fmt: skip


async def test_two_sdks_send_the_same_bytes(gateway: Any, scripts: Any) -> None:
    await with_openai(gateway, scripts["group"], temperature=0.2, max_tokens=50, seed=7, stop=["\n"])
    await with_hugging_face(gateway, scripts["group"], temperature=0.2, max_tokens=50, seed=7, stop=["\n"])
    one, two = (request for request, _ in gateway.overlay.asked)
    assert encode(one) == encode(two)


async def test_without_a_seed_they_differ_in_the_nonce_alone(gateway: Any, scripts: Any) -> None:
    await with_openai(gateway, scripts["group"], max_tokens=50)
    await with_hugging_face(gateway, scripts["group"], max_tokens=50)
    one, two = (request for request, _ in gateway.overlay.asked)
    assert one.nonce != two.nonce
    nonce = os.urandom(32)
    assert encode(replace(one, nonce=nonce)) == encode(replace(two, nonce=nonce))
