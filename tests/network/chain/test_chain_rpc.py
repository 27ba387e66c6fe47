"""JSON-RPC over several addresses: fall-back, rest, preference, and answers that are no answers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from network.aio.chain_rpc import ChainRpc, ChainUnavailable, RpcError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_post("/", handler)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runners[-1].addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def answering(body: Any, counter: list[int] | None = None, status: int = 200) -> Handler:
    async def handler(_request: web.Request) -> web.Response:
        if counter is not None:
            counter.append(1)
        if isinstance(body, str):
            return web.Response(text=body, status=status)
        return web.json_response(body, status=status)

    return handler


async def test_the_next_address_answers_and_is_preferred(serve: Any) -> None:
    asked: list[int] = []
    good = await serve(answering({"result": 7}, asked))
    rpc = ChainRpc(["http://127.0.0.1:9", good])
    await rpc.start()
    assert [await rpc.call("m", {}) for _ in range(3)] == [7, 7, 7]
    assert len(asked) == 3
    await rpc.close()


async def test_avoiding_moves_on(serve: Any) -> None:
    first, second = await serve(answering({"result": 1})), await serve(answering({"result": 2}))
    rpc = ChainRpc([first, second])
    await rpc.start()
    answers = [await rpc.call("m", {})]
    rpc.avoid()
    answers.append(await rpc.call("m", {}))
    rpc.avoid()
    answers.append(await rpc.call("m", {}))
    assert answers == [1, 2, 1]
    await rpc.close()


@pytest.mark.parametrize("body", ["", "not json", "[1]", "7", "x" * (9 * 1024 * 1024)])
async def test_what_is_no_answer_counts_as_silence(serve: Any, body: str) -> None:
    rpc = ChainRpc([await serve(answering(body))])
    await rpc.start()
    with pytest.raises(ChainUnavailable, match="no RPC address"):
        await rpc.call("m", {})
    await rpc.close()


async def test_an_error_answer_is_not_silence(serve: Any) -> None:
    rpc = ChainRpc(
        [await serve(answering({"error": {"code": -32603, "message": "Internal error", "data": "why"}}, status=500))]
    )
    await rpc.start()
    with pytest.raises(RpcError, match="why") as raised:
        await rpc.call("m", {})
    assert raised.value.code == -32603
    await rpc.close()


async def test_a_client_that_is_not_started_says_so() -> None:
    with pytest.raises(ChainUnavailable, match="has not been started"):
        await ChainRpc(["http://127.0.0.1:9"]).call("m", {})
    with pytest.raises(ValueError, match="at least one"):
        ChainRpc([])
