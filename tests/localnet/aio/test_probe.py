"""Questions to nodes: what they answer, and None for everything that is no answer. Status and the first prompt on top."""

import base64
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from localnet.aio import report
from localnet.aio.home import Home
from localnet.aio.probe import ChainView, OpsView, Probe
from localnet.aio.prompt import PromptFailed, ask
from network.chain_records import DIRECTORY_KEY, DirectoryEntry, DirectoryRecord
from network.codec import encode

RECORD = DirectoryRecord("chain", 1, 9, bytes(32), (DirectoryEntry(bytes(20), name="relay-00"),))
ANSWERS = {
    "/status": {
        "name": "relay-00",
        "ready": False,
        "reason": "starting",
        "result": {"sync_info": {"latest_block_height": "12", "catching_up": True}, "node_info": {"network": "chain"}},
    },
    "/abci_query": {"result": {"response": {"code": 0, "value": base64.b64encode(encode(RECORD)).decode()}}},
}


async def answer(request: web.Request) -> web.Response:
    if request.path == "/abci_query":
        assert request.query["data"] == f"0x{DIRECTORY_KEY.hex()}" and request.query["path"] == '"/store/main/key"'
    return web.json_response(ANSWERS[request.path])


async def chat(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    if body["model"] == "unknown":
        error = {"code": "model_not_found", "message": "no such model", "hint": "ask for another"}
        return web.json_response({"error": error}, status=404)
    response = web.StreamResponse(headers={"x-planetserve-node": "ab", "x-planetserve-route": "cd,ab"})
    await response.prepare(request)
    events: list[object] = [{"choices": [{"delta": {"role": "assistant"}}]}]
    if body["model"] != "silent":
        events += [{"choices": [{"delta": {"content": word}}]} for word in ("Hel", "lo")]
    events.append({"choices": [], "usage": {"completion_tokens": 2}})
    if body["model"] == "broken":
        events.append({"error": {"code": "node_failed_midstream", "message": "gone"}})
    for event in events:
        await response.write(b": note\n\ndata: " + json.dumps(event).encode() + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    return response


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """A stand-in for any node."""
    app = web.Application()
    app.add_routes([web.get("/status", answer), web.get("/abci_query", answer), web.post("/v1/chat/completions", chat)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield "{}:{}".format(*runner.addresses[0][:2])
    await runner.cleanup()


async def test_answers_are_read(address: str) -> None:
    async with aiohttp.ClientSession() as session:
        probe = Probe(session)
        assert await probe.chain(address) == ChainView(12, True, "chain")
        assert await probe.ops(address) == OpsView("relay-00", False, "starting")
        assert await probe.directory(address) == RECORD


async def test_silence_and_nonsense_are_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with aiohttp.ClientSession() as session:
        probe = Probe(session)
        assert await probe.chain("127.0.0.1:1") is None and await probe.ops("127.0.0.1:1") is None
        monkeypatch.setitem(ANSWERS, "/status", {"name": 3})
        monkeypatch.setitem(ANSWERS, "/abci_query", {"result": {"response": {"code": 0, "value": "AAAA"}}})
        assert await probe.chain(address) is None and await probe.ops(address) is None
        assert await probe.directory(address) is None


async def test_a_prompt_is_streamed_and_told(address: str) -> None:
    shown: list[str] = []
    async with aiohttp.ClientSession() as session:
        told = await ask(session, address, "model", shown.append)
    assert shown == ["Hel", "lo"] and (told.text, told.tokens, told.node, told.route) == ("Hello", 2, "ab", "cd,ab")


@pytest.mark.parametrize(
    ("model", "words"),
    [("unknown", "404: model_not_found · no such model · ask for another"), ("broken", "gone"), ("silent", "without a token")],
)
async def test_a_prompt_that_fails_says_why(address: str, model: str, words: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(PromptFailed, match=words):
            await ask(session, address, model, lambda _piece: None)


async def test_the_status_of_a_network_that_is_down(home: Home) -> None:
    async with aiohttp.ClientSession() as session:
        document = await report.status(home, Probe(session))
    assert document["ready"] is False and document["height"] is None and document["epoch"] is None
    assert {row["state"] for row in document["nodes"]} == {"stopped"} and len(document["nodes"]) == 25
    shown = report.table(document)
    assert "not ready" in shown and "model-3" in shown and "dishonest by the manifest" in shown
