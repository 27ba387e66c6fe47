"""Whose fault an engine's error is, in the words of both engines; and streams that are no streams."""

import json
from typing import Any

import pytest
from aiohttp import web

from serving_node.aio.engine_http import EngineHttp, refusal
from serving_node.failure import CONTEXT_LENGTH_EXCEEDED, ENGINE_FAILED, INVALID_REQUEST, ServeError


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, {"error": {"type": "exceed_context_size_error", "message": "too long"}}, CONTEXT_LENGTH_EXCEEDED),
        (400, {"error": {"message": "This model's maximum context length is 512 tokens"}}, CONTEXT_LENGTH_EXCEEDED),
        (400, {"error": {"type": "invalid_request_error", "message": "bad"}}, INVALID_REQUEST),
        (422, {"detail": "bad"}, INVALID_REQUEST),
        (401, {"error": {"message": "key"}}, ENGINE_FAILED),
        (503, {"error": {"message": "Loading model"}}, ENGINE_FAILED),
        (500, "boom", ENGINE_FAILED),
        (500, {"error": "boom"}, ENGINE_FAILED),
    ],
)
def test_whose_fault_it_is(status: int, error: Any, code: str) -> None:
    assert refusal(status, json.dumps(error).encode()).code == code
    assert refusal(status, b"<html>").code in (INVALID_REQUEST, ENGINE_FAILED)


async def test_an_engine_that_is_not_there() -> None:
    http = EngineHttp("http://127.0.0.1:9")
    await http.open()
    assert not await http.answers("/health")
    with pytest.raises(ServeError) as failed:
        await http.post("/completion", {})
    assert failed.value.code == ENGINE_FAILED
    await http.close()


async def test_events_survive_any_cut_and_garbage_is_the_engines_fault() -> None:
    async def good(http: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(http)
        for byte in 'data: {"a": 1}\n\n: ping\n\ndata: {"b": "ü"}\n\ndata: [DONE]\n\ndata: {"c": 1}\n'.encode():
            await response.write(bytes([byte]))
        return response

    async def bad(_: web.Request) -> web.Response:
        return web.Response(text="data: {not json\n\n")

    async def late(_: web.Request) -> web.Response:
        return web.Response(text='data: {"a": 1}\n\ndata: {"error": {"message": "slot lost"}}\n\n')

    app = web.Application()
    app.add_routes([web.post("/good", good), web.post("/bad", bad), web.post("/late", late)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    http = EngineHttp(f"http://127.0.0.1:{runner.addresses[0][1]}")
    await http.open()
    assert [event async for event in http.events("/good", {})] == [{"a": 1}, {"b": "ü"}]
    for path in ("/bad", "/late"):
        with pytest.raises(ServeError) as failed:
            async for _ in http.events(path, {}):
                pass
        assert failed.value.code == ENGINE_FAILED
    await http.close()
    await runner.cleanup()
