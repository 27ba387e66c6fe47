"""The edge as its clients see it: the official SDK, raw HTTP, bad input, retries, cancellation."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web

from network.chain_records import DirectoryEntry
from network.errors import NoCircuits, ReplyTimeout, ReplyTruncated
from network.gateway.aio.server import GatewayServer
from network.gateway.api_keys import new_key, parse_keys
from network.gateway.caching import Caching
from network.inference import FrameKind, InferenceRequest, ReplyFrame
from network.modes import Mode

ASK = [{"role": "user", "content": "hi"}]


def client(gateway: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=gateway.url, api_key="any", max_retries=0, organization="acme-corp", project="secret-project"
    )


async def post(gateway: Any, path: str = "/chat/completions", raw: bytes | None = None, **body: Any) -> tuple[int, Any, Any]:
    async with aiohttp.ClientSession() as session:
        data = json.dumps(body).encode() if raw is None else raw
        async with session.post(gateway.url + path, data=data) as response:
            text = await response.text()
            kind = response.content_type
            return response.status, json.loads(text) if kind == "application/json" else text, response.headers


async def test_the_sdk_gets_a_whole_chat(gateway: Any, scripts: Any) -> None:
    async with client(gateway) as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(model=scripts["group"], messages=ASK, user="alice")  # type: ignore[arg-type]
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello, world"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == scripts["group"]
    assert answer.usage is not None and answer.usage.total_tokens == 10
    assert answer.usage.prompt_tokens_details is not None and answer.usage.prompt_tokens_details.cached_tokens == 5
    node = gateway.overlay.asked[0][1].hex()
    assert raw.headers["x-planetserve-node"] == raw.headers["x-planetserve-route"] == node
    assert raw.headers["x-request-id"].startswith("req_")


async def test_the_sdk_streams_a_chat_with_usage(gateway: Any, scripts: Any) -> None:
    async with client(gateway) as sdk:
        stream = await sdk.chat.completions.create(
            model=scripts["group"],
            messages=ASK,
            stream=True,
            stream_options={"include_usage": True},  # type: ignore[arg-type]
        )
        chunks = [chunk async for chunk in stream]
        headers = stream.response.headers
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello, world"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 3
    assert headers["x-planetserve-node"] == gateway.overlay.asked[0][1].hex()


async def test_the_sdk_completes_a_prompt(gateway: Any, scripts: Any) -> None:
    async with client(gateway) as sdk:
        whole = await sdk.completions.create(model=scripts["group"], prompt="Once")
        stream = await sdk.completions.create(model=scripts["group"], prompt="Once", stream=True)
        pieces = [chunk.choices[0].text async for chunk in stream]
    assert whole.choices[0].text == "".join(pieces) == "Hello, world"


async def test_models_are_those_of_the_directory(gateway: Any, scripts: Any) -> None:
    async with client(gateway) as sdk:
        assert [model.id async for model in sdk.models.list()] == [scripts["group"]]
        assert (await sdk.models.retrieve(scripts["group"])).id == scripts["group"]
        with pytest.raises(openai.NotFoundError):
            await sdk.models.retrieve("gpt-9")


async def test_a_request_chooses_its_mode_and_the_header_ends_here(gateway: Any, scripts: Any) -> None:
    async with client(gateway) as sdk:
        for headers in ({}, {"x-planetserve-mode": "strict"}):
            await sdk.chat.completions.create(model=scripts["group"], messages=ASK, seed=7, extra_headers=headers)
        with pytest.raises(openai.BadRequestError, match="speedy, default, strict"):
            await sdk.chat.completions.create(
                model=scripts["group"], messages=ASK, extra_headers={"x-planetserve-mode": "fast"}
            )
    assert gateway.overlay.modes == [None, Mode.STRICT]
    first, second = (request for request, _ in gateway.overlay.asked)
    assert (first.body, first.sampling, first.deadline_ms) == (second.body, second.sampling, second.deadline_ms)


async def test_nothing_of_the_client_travels(gateway: Any, scripts: Any) -> None:
    async with client(gateway) as sdk:
        await sdk.chat.completions.create(
            model=scripts["group"],
            messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            user="alice",
            metadata={"trace": "t-1"},
            store=True,
            service_tier="auto",
            temperature=0.7004,
            extra_headers={"traceparent": "00-abc-def-01"},
            extra_body={"vendor_field": "fingerprint"},
        )
    request = gateway.overlay.asked[0][0]
    assert request.body == b'{"messages":[{"content":"hi","role":"user"}]}'
    assert request.sampling.temperature_milli == 700
    assert len(request.nonce) == 32


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{not json", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b"[1]", 400, "invalid_json"),
        (b'{"messages": NaN}', 400, "invalid_json"),
        (b"[" * 200_000, 400, "invalid_json"),
        (b'{"messages":[{"role":"user","content":"\\ud800"}]}', 400, "invalid_json"),
        (b'{"messages": []}', 400, "empty_messages"),
        (b"{}", 400, "empty_messages"),
        (b'{"messages":"hi"}', 400, "invalid_request"),
        (b'{"messages":[{"role":"king","content":"hi"}]}', 400, "invalid_request"),
        (b'{"messages":[{"role":"user","content":"hi"}],"temperature":9}', 400, "invalid_request"),
        (b'{"messages":[{"role":"user","content":"hi"}],"stream":"yes"}', 400, "invalid_request"),
        (b'{"messages":[{"role":"user","content":"hi"}],"n":2}', 400, "unsupported_parameter"),
        (b'{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}', 400, "unsupported_parameter"),
        (b'{"messages":[{"role":"user","content":"hi"}],"model":"smollm2-135m-instruc"}', 404, "model_not_found"),
        (b'{"messages":[{"role":"user","content":"%s"}]}' % (b"x" * 300_000), 413, "request_too_large"),
        (b'{"messages":[{"role":"user","content":"%s"}]}' % (b"x" * 3_000_000), 413, "request_too_large"),
    ],
)
async def test_bad_input_has_a_code_and_a_hint(gateway: Any, raw: bytes, status: int, code: str) -> None:
    got, body, headers = await post(gateway, raw=raw)
    assert (got, body["error"]["code"]) == (status, code)
    assert set(body["error"]) == {"message", "type", "param", "code", "hint", "request_id"}
    assert body["error"]["hint"] and body["error"]["request_id"] == headers["x-request-id"]
    assert not gateway.overlay.asked


async def test_unknown_paths_and_methods_have_the_same_shape(gateway: Any) -> None:
    status, body, _ = await post(gateway, "/embeddings", input="x")
    assert (status, body["error"]["code"]) == (404, "not_found")
    status, body, _ = await post(gateway, "/models")
    assert (status, body["error"]["code"]) == (405, "method_not_allowed")


async def test_the_nearest_model_is_suggested(gateway: Any, scripts: Any) -> None:
    _, body, _ = await post(gateway, model="smollm2-135m", messages=ASK)
    assert scripts["group"] in body["error"]["message"]


async def test_no_trusted_node_is_503_with_retry_after(gateway: Any, scripts: Any) -> None:
    gateway.entries = [scripts["model_entry"](key, trusted=False) for key in gateway.overlay.keys]
    status, body, headers = await post(gateway, model=scripts["group"], messages=ASK)
    assert (status, body["error"]["code"]) == (503, "no_capacity") and int(headers["Retry-After"]) > 0
    gateway.entries = []
    status, body, headers = await post(gateway, model=scripts["group"], messages=ASK)
    assert (status, body["error"]["code"]) == (503, "starting") and int(headers["Retry-After"]) > 0


def raising(error: Exception) -> Any:
    async def script(overlay: Any, request: InferenceRequest, entry: DirectoryEntry) -> AsyncIterator[ReplyFrame]:
        raise error
        yield ReplyFrame()

    return script


@pytest.mark.parametrize(
    ("error", "status", "code", "tries"),
    [
        (NoCircuits("none"), 503, "no_circuits", 1),
        (ReplyTimeout("late"), 504, "reply_timeout", 3),
        (ReplyTruncated("cut"), 502, "reply_truncated", 3),
    ],
)
async def test_the_overlays_errors_are_openais(gateway: Any, error: Exception, status: int, code: str, tries: int) -> None:
    gateway.overlay.script = raising(error)
    for stream in (False, True):
        gateway.overlay.asked.clear()
        got, body, _ = await post(gateway, messages=ASK, stream=stream)
        assert (got, body["error"]["code"], len(gateway.overlay.asked)) == (status, code, tries)
        assert len({node for _, node in gateway.overlay.asked}) == tries


async def test_a_nodes_refusal_of_the_prompt_is_final(gateway: Any, scripts: Any) -> None:
    async def script(overlay: Any, request: InferenceRequest, entry: DirectoryEntry) -> AsyncIterator[ReplyFrame]:
        yield scripts["failed"]("context_length_exceeded", 400, "5000 tokens, at most 4096")

    gateway.overlay.script = script
    status, body, _ = await post(gateway, messages=ASK)
    assert (status, body["error"]["code"], len(gateway.overlay.asked)) == (400, "context_length_exceeded", 1)


async def test_a_busy_node_is_left_for_another_before_the_first_token(gateway: Any, scripts: Any) -> None:
    async def script(overlay: Any, request: InferenceRequest, entry: DirectoryEntry) -> AsyncIterator[ReplyFrame]:
        if len(overlay.asked) == 1:
            yield scripts["failed"]("queue_full", 503)
        else:
            async for each in scripts["hello"](overlay, request, entry):
                yield each

    gateway.overlay.script = script
    status, body, _ = await post(gateway, messages=ASK)
    assert status == 200 and body["choices"][0]["message"]["content"] == "Hello, world"
    first, second = gateway.overlay.asked
    assert first[1] != second[1] and first[0] == second[0]


async def test_after_the_first_token_a_loss_is_an_event_of_the_stream(gateway: Any, scripts: Any) -> None:
    async def script(overlay: Any, request: InferenceRequest, entry: DirectoryEntry) -> AsyncIterator[ReplyFrame]:
        yield scripts["delta"](0, "Hel", request)
        raise ReplyTruncated("cut")

    gateway.overlay.script = script
    with pytest.raises(openai.APIError, match="cut"):
        async with client(gateway) as sdk:
            stream = await sdk.chat.completions.create(model=scripts["group"], messages=ASK, stream=True)  # type: ignore[arg-type]
            _ = [chunk async for chunk in stream]
    assert len(gateway.overlay.asked) == 1
    _, text, _ = await post(gateway, messages=ASK, stream=True)
    assert "reply_truncated" in text and "[DONE]" not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": b"\x01" * 32},
        {"domain": b"planetserve/other/1"},
        {"model_hash": b"\x12" * 32},
        {"node_id": b"\x09" * 20},
        {"sampling": None},
        {"token_ids": tuple(range(900))},
        {"finish": 0},
    ],
)
async def test_a_statement_for_something_else_is_refused(gateway: Any, scripts: Any, changes: dict[str, Any]) -> None:
    async def script(overlay: Any, request: InferenceRequest, entry: DirectoryEntry) -> AsyncIterator[ReplyFrame]:
        yield overlay.final(0, request, entry.node_id, **changes)

    gateway.overlay.script = script
    status, body, _ = await post(gateway, messages=ASK)
    assert (status, body["error"]["code"], len(gateway.overlay.asked)) == (502, "untrusted_response", 3)


async def test_a_forged_signature_after_tokens_is_an_error_of_the_stream(gateway: Any, scripts: Any) -> None:
    async def script(overlay: Any, request: InferenceRequest, entry: DirectoryEntry) -> AsyncIterator[ReplyFrame]:
        yield scripts["delta"](0, "Hel", request)
        other = next(each.node_id for each in gateway.entries if each.node_id != entry.node_id)
        yield overlay.final(1, request, entry.node_id, node_id=other)

    gateway.overlay.script = script
    _, text, _ = await post(gateway, messages=ASK, stream=True)
    assert "untrusted_response" in text and "[DONE]" not in text


async def test_garbage_frames_are_refused(gateway: Any, scripts: Any) -> None:
    for kind, payload in (
        (FrameKind.DELTA, b"{"),
        (FrameKind.DELTA, b"[]"),
        (FrameKind.FINAL, b"\xff"),
        (FrameKind.FINAL, b""),
    ):

        async def script(
            overlay: Any, request: InferenceRequest, entry: DirectoryEntry, kind: FrameKind = kind, payload: bytes = payload
        ) -> AsyncIterator[ReplyFrame]:
            yield scripts["frame"](0, kind, payload)

        gateway.overlay.script = script
        status, body, _ = await post(gateway, messages=ASK)
        assert (status, body["error"]["code"]) == (502, "untrusted_response")


async def test_a_conversation_returns_to_the_node_that_answered(gateway: Any) -> None:
    _, _, headers = await post(gateway, messages=ASK)
    node = headers["x-planetserve-node"]
    longer = [*ASK, {"role": "assistant", "content": "Hello, world"}, {"role": "user", "content": "more"}]
    for _ in range(4):
        _, _, headers = await post(gateway, messages=longer)
        assert headers["x-planetserve-node"] == node


async def test_the_client_leaving_cancels_the_request(gateway: Any, scripts: Any) -> None:
    async def script(overlay: Any, request: InferenceRequest, entry: DirectoryEntry) -> AsyncIterator[ReplyFrame]:
        yield scripts["delta"](0, "Hel", request)
        await asyncio.sleep(60)

    gateway.overlay.script = script
    async with aiohttp.ClientSession() as session:
        response = await session.post(f"{gateway.url}/chat/completions", json={"messages": ASK, "stream": True})
        await response.content.readline()
        response.close()
    await asyncio.wait_for(gateway.overlay.cancelled.wait(), 10)


async def test_a_slow_start_is_kept_alive_with_comments(gateway: Any, scripts: Any) -> None:
    async def script(overlay: Any, request: InferenceRequest, entry: DirectoryEntry) -> AsyncIterator[ReplyFrame]:
        await asyncio.sleep(0.3)
        async for each in scripts["hello"](overlay, request, entry):
            yield each

    gateway.overlay.script = script
    _, text, _ = await post(gateway, messages=ASK, stream=True)
    assert ": keep-alive" in text and text.endswith("data: [DONE]\n\n")
    assert f": x-planetserve-node: {gateway.overlay.asked[0][1].hex()}" in text


async def test_a_bug_is_a_500_without_words_of_the_prompt(gateway: Any) -> None:
    gateway.overlay.script = raising(RuntimeError("the prompt was hi"))
    status, body, _ = await post(gateway, messages=ASK)
    assert (status, body["error"]["code"]) == (500, "internal_error") and "prompt was" not in json.dumps(body)


async def test_health_says_why(gateway: Any) -> None:
    async with aiohttp.ClientSession() as session:
        for unready, status in (("", 200), ("no path set is ready", 503)):
            gateway.unready = unready
            async with session.get(gateway.url.removesuffix("/v1") + "/health") as response:
                assert (response.status, (await response.json())["reason"]) == (status, unready)


async def test_a_gateway_with_keys_answers_nobody_without_one(gateway: Any) -> None:
    key, line = new_key("laptop", os.urandom)
    server = GatewayServer(gateway.parts, lambda: "", "", 600, 256, Caching(bytes(32)), keys=parse_keys(line, "keys"))
    runner = web.AppRunner(server.app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as sdk:
        assert await sdk.models.list()
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="ps-wrong", max_retries=0) as sdk:
        with pytest.raises(openai.AuthenticationError) as caught:
            await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        assert caught.value.code == "invalid_api_key" and "ps-wrong" not in str(caught.value)
    async with aiohttp.ClientSession() as session:
        for path in ("/v1/models", "/v1/models/m", "/v1/chat/completions", "/v1/completions", "/none"):
            async with session.post(url + path, data=b"{}") as response:
                assert response.status == 401 and response.headers["x-request-id"]
        async with session.get(url + "/health") as response:
            assert response.status == 200
    assert not gateway.overlay.asked
    await runner.cleanup()
