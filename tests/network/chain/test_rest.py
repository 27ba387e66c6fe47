"""The REST gateway before nodes that lie: nothing unproven is passed on as proven."""

import base64
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from network.aio.chain_client import ChainClient
from network.aio.ledger_reader import LedgerReader
from network.chain_records import (
    CURRENT_EPOCH_KEY,
    PARAMS_KEY,
    EpochRecord,
    NodeRecord,
    NodeResult,
    Params,
    ValidatorRecord,
    epoch_key,
    node_key,
    validator_key,
)
from network.codec import Message, encode
from network.rest.aio.chain_history import ChainHistory
from network.rest.aio.cosmos_pages import CosmosPages
from network.rest.aio.ledger_pages import LedgerPages
from network.rest.aio.metrics import RestMetrics
from network.rest.aio.server import RestServer
from network.rest.routes import MEANINGS, ROUTES

NODES = [bytes([at]) * 20 for at in (1, 2, 3)]


@pytest.fixture
async def ask(chain: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    held: dict[bytes, Message] = {
        PARAMS_KEY: Params(epoch_blocks=60),
        CURRENT_EPOCH_KEY: EpochRecord(number=3, first_height=1),
        **{node_key(name): NodeRecord(role=3, name=f"n{name[0]}", reputation=500_000_000) for name in NODES},
        **{
            epoch_key(at): EpochRecord(number=at, ended_height=at + 1, results=(NodeResult(node_id=NODES[0], credit=at),))
            for at in range(1, 3)
        },
    }
    for at, validator in enumerate(chain.trust.validators):
        held[validator_key(validator.address)] = ValidatorRecord(validator.public_key, bytes([40 + at]) * 32, 10, f"v{at}")
    chain.block({key: encode(record) for key, record in held.items()})
    for _ in range(3):
        chain.block()
    monkeypatch.setattr("network.aio.chain_client.READ_ATTEMPTS", 1)
    client = ChainClient([chain.url], chain.trust, clock=chain.clock)
    reader = LedgerReader(client)
    server = RestServer(reader, LedgerPages(reader), CosmosPages(reader, ChainHistory(client)), RestMetrics())
    await client.start()
    runner = web.AppRunner(server.app(), handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:

        async def question(path: str) -> tuple[int, str | None, Any]:
            async with session.get(base + path) as response:
                return response.status, response.headers.get("X-Planetserve-Proven"), json.loads(await response.text())

        yield question
    await runner.cleanup()
    await client.close()


async def test_honest_answers(ask: Any) -> None:
    for path in ("/ledger/v1/params", "/ledger/v1/nodes?registered=1", "/ledger/v1/committee", "/ledger/v1/epochs"):
        status, proven, body = await ask(path + ("&" if "?" in path else "?") + "prove=1")
        assert (status, proven, body["proven"]) == (200, "true", True), body
    _, _, body = await ask(f"/ledger/v1/nodes/{NODES[0].hex()}/reputation")
    assert [(row["epoch"], row["credit"]) for row in body["history"]] == [(2, "0.000000002"), (1, "0.000000001")]
    _, _, body = await ask("/ledger/v1/epochs?limit=2")
    assert [row["number"] for row in body["epochs"]] == [3, 2] and body["next"] == "1"
    _, _, body = await ask("/ledger/v1/epochs?limit=2&key=1")
    assert [row["number"] for row in body["epochs"]] == [1] and body["next"] == ""
    _, _, body = await ask(f"/ledger/v1/epochs/2?key={NODES[1].hex()}")
    assert body["epoch"]["results"] == []


async def test_a_changed_value_is_refused(chain: Any, ask: Any) -> None:
    def lie(method: str, result: Any) -> Any:
        if method == "abci_query" and (result.get("response") or {}).get("value"):
            other = base64.b64encode(encode(Params(epoch_blocks=61))).decode()
            return {"response": {**result["response"], "value": other}}
        return result

    chain.tamper = lie
    status, proven, body = await ask("/ledger/v1/params")
    assert (status, proven, body["code"], body["codespace"]) == (502, None, 7, "planetserve/rest")


@pytest.mark.parametrize(
    "document",
    [
        {"nodes": [{"key": node_key(b"\x09" * 20).hex()}], "next": ""},
        {"nodes": [{"key": PARAMS_KEY.hex()}], "next": ""},
        {"nodes": [{"key": node_key(NODES[0]).hex()}] * 2, "next": ""},
        {"nodes": [{"key": "zz"}], "next": ""},
        {"nodes": [{}], "next": ""},
        {"nodes": 5},
        ["nodes"],
        5,
    ],
)
async def test_a_list_that_names_what_is_not_there_is_refused(chain: Any, ask: Any, document: Any) -> None:
    def lie(method: str, result: Any) -> Any:
        if method == "abci_query" and not (result["response"].get("key")):
            return {"response": {"code": 0, "value": base64.b64encode(json.dumps(document).encode()).decode(), "height": "3"}}
        return result

    chain.tamper = lie
    status, _, body = await ask("/ledger/v1/nodes?registered=1")
    assert (status, body["code"]) == (502, 7), body


async def test_a_dead_chain_is_said_and_comes_back(chain: Any, ask: Any) -> None:
    chain.down = True
    assert (await ask("/ledger/v1/params"))[0] == 503
    status, _, body = await ask("/status")
    assert status == 200 and body["ready"] is False and body["reason"]
    chain.down = False
    for _ in range(100):
        status, _, body = await ask("/status")
        if body["ready"]:
            break
    assert body["ready"] and body["chain_id"] == "test-chain"


async def test_too_many_at_once_are_turned_away(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("network.rest.aio.server.MOST_IN_FLIGHT", 0)
    status, _, body = await ask("/ledger/v1/params")
    assert (status, body["code"]) == (429, 5)
    monkeypatch.setattr("network.rest.aio.server.MOST_IN_FLIGHT", 64)
    monkeypatch.setattr("network.rest.aio.server.REQUEST_S", 0.0)
    assert (await ask("/ledger/v1/params"))[0] == 504


WORDS = ("", "0", "1", "3", "current", "-1", "9" * 25, "zz", "ff" * 20, "01" * 20, "ab" * 32, "planetservevaloper1x", "%2f")
VALUES = (*WORDS, "true", "/nodes", "/store/main/key", "AAAA", "tx.height>0", "\u0663")


async def test_no_request_is_a_bug(ask: Any) -> None:
    """Every path with words and arguments of every kind: an answer or a code of the catalogue, never a fault of ours."""
    dice = random.Random(5)
    seen: set[int] = set()
    for _ in range(250):
        route = dice.choice([route for route in ROUTES if route.name not in ("metrics", "openapi")])
        path = "/".join(dice.choice(WORDS) if part.startswith("{") else part for part in route.path.split("/"))
        names = dice.sample(sorted(MEANINGS), dice.randint(0, 3))
        query = "&".join(f"{name}={dice.choice(VALUES)}" for name in names)
        status, _, body = await ask(f"{path}?{query}")
        assert status in (200, 400, 404, 502, 503), (path, query, body)
        assert status == 200 or set(body) == {"code", "codespace", "message"}
        seen.add(status)
    assert {200, 400, 404} <= seen
