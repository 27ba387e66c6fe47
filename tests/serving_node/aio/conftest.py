"""A double of llama.cpp's HTTP face, and model nodes in this process that answer and forward over real HTTP.

The double's tokens are UTF-8 bytes, its end of sequence is 256; like the real one it withholds the ids of all but the last
token of a character that takes several.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from network.aio.dialer import Dialer
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.config import Address
from network.crypto import SigningKey, sha256
from network.directory import Directory
from network.ids import NodeId, Role, node_id
from network.inference import ReplyFrame
from serving_node.aio.answering import Answering
from serving_node.aio.engine_http import EngineHttp
from serving_node.aio.group import Group
from serving_node.aio.llama import LlamaApi
from serving_node.aio.metrics import ServingMetrics
from serving_node.aio.peers import ForwardServer, PeerClient
from serving_node.config import EngineConfig
from serving_node.forwarding import ForwardGate

GROUP = "tiny"
EOS = 256


@dataclass
class FakeLlama:
    """What the double does next, and what it was asked."""

    text: str = "Hello there"
    raw: bytes = b""
    merges: bool = False  # the tokeniser spells a character in one token, the model in its bytes
    delay_s: float = 0.0
    fail: int = 0
    break_off: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    erased: list[int] = field(default_factory=list)
    running: int = 0
    stopped: int = 0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self._health),
            web.get("/metrics", self._metrics),
            web.post("/apply-template", self._template),
            web.post("/tokenize", self._tokenize),
            web.post("/completion", self._completion),
            web.get("/slots", self._slots),
            web.post("/slots/{id}", self._erase),
        ]

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _metrics(self, _: web.Request) -> web.Response:
        lines = [
            "# TYPE llamacpp:prompt_tokens_total counter",
            "llamacpp:prompt_tokens_total 300",
            "# TYPE llamacpp:prompt_seconds_total counter",
            "llamacpp:prompt_seconds_total 2",
            "# TYPE llamacpp:requests_processing gauge",
            f"llamacpp:requests_processing {self.running}",
        ]
        return web.Response(text="\n".join(lines) + "\n")

    async def _slots(self, _: web.Request) -> web.Response:
        return web.json_response([{"id": 0, "is_processing": False, "id_task": 7}, {"id": 1, "is_processing": False}])

    async def _erase(self, request: web.Request) -> web.Response:
        assert request.query["action"] == "erase"
        self.erased.append(int(request.match_info["id"]))
        return web.json_response({"id_slot": self.erased[-1], "n_erased": 1})

    async def _template(self, http: web.Request) -> web.Response:
        body = await http.json()
        return web.json_response({"prompt": "".join(f"{m['role']}: {m['content']}\n" for m in body["messages"])})

    async def _tokenize(self, http: web.Request) -> web.Response:
        text = (await http.json())["content"]
        return web.json_response({"tokens": [1000 + ord(c) for c in text] if self.merges else list(text.encode())})

    async def _completion(self, http: web.Request) -> web.StreamResponse:
        body = await http.json()
        self.asked.append(body)
        if self.fail:
            return web.json_response({"error": {"code": self.fail, "message": "no", "type": "server_error"}}, status=self.fail)
        ids = [*(self.raw or self.text.encode()), EOS][: body["n_predict"]]
        if body.get("n_probs", 0) > 256:
            rows = [{"id": byte, "bytes": [byte], "logprob": -5.0} for byte in range(256)]
            return web.json_response({"completion_probabilities": [{"top_logprobs": rows}]})
        if not body.get("stream"):
            return web.json_response({"tokens": ids})
        response = web.StreamResponse()
        await response.prepare(http)
        self.running += 1
        try:
            await self._stream(response, http, body, ids)
        except ConnectionResetError:
            self.stopped += 1
        finally:
            self.running -= 1
        return response

    async def _stream(self, response: web.StreamResponse, http: web.Request, body: dict[str, Any], ids: list[int]) -> None:
        progress = {"total": len(body["prompt"]), "cache": 4, "processed": len(body["prompt"])}
        await _event(response, {"prompt_progress": progress, "stop": False, "content": "", "tokens": [], "tokens_predicted": 0})
        held = b""
        for count, token in enumerate(ids, start=1):
            await asyncio.sleep(self.delay_s)
            if http.transport is None or http.transport.is_closing():
                raise ConnectionResetError
            if token != EOS:
                held += bytes([token])
            try:
                content = held.decode()
            except UnicodeDecodeError:
                continue
            held = b""
            await _event(response, {"content": content, "tokens": [token], "tokens_predicted": count, "stop": False})
        if self.break_off:
            assert http.transport is not None
            http.transport.abort()
            return
        kind = "eos" if ids and ids[-1] == EOS else "limit"
        last = {"content": "", "tokens": [], "tokens_predicted": len(ids), "stop": True, "stop_type": kind}
        await _event(response, {**last, "timings": {"cache_n": 4}})


async def _event(response: web.StreamResponse, document: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(document).encode() + b"\n\n")


async def serve(routes: list[web.RouteDef]) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"127.0.0.1:{runner.addresses[0][1]}"


class DoubleEngine(LlamaApi):
    """The double behind the product's own client."""

    healthy = True
    salts = False
    on_restart = staticmethod(lambda: None)

    def __init__(self, address: str) -> None:
        super().__init__(EngineHttp(f"http://{address}"))

    async def start(self) -> None:
        await self._http.open()

    async def close(self) -> None:
        await self._http.close()


@dataclass
class Node:
    """One model node of the test network."""

    key: SigningKey
    llama: FakeLlama
    engine: Any
    group: Group
    answering: Answering
    dialer: Dialer
    forwards: ForwardServer
    runners: list[web.AppRunner]
    address: str

    @property
    def id(self) -> NodeId:
        return node_id(self.key.public)

    async def ask(self, raw: bytes) -> list[ReplyFrame]:
        frames: list[ReplyFrame] = []
        await self.answering.answer_bytes(raw, frames.append)
        return frames

    async def close(self) -> None:
        for runner in self.runners:
            await runner.cleanup()
        await self.group.close()
        await self.dialer.aclose()
        await self.engine.close()


class TestNetwork:
    """Model nodes of one group and the directory they share."""

    __test__ = False

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.entries: list[DirectoryEntry] = []
        self.directory = Directory(DirectoryRecord(chain_id="test", epoch=1), 1)

    async def add(self, *, policy: str = "none", slots: int = 2, llama: FakeLlama | None = None, engine: Any = None) -> Node:
        key = SigningKey(sha256(b"node", bytes([len(self.nodes)])))
        llama = llama or FakeLlama()
        llama_runner, llama_address = await serve(llama.routes())
        if engine is None:
            engine = DoubleEngine(llama_address)
            await engine.start()
        own, registry, dialer = node_id(key.public), CollectorRegistry(), Dialer()
        peers = PeerClient(dialer)
        group = Group(own, key, lambda: self.directory, GROUP, policy, bytes, dialer, registry=registry, flush_s=0.02)
        config = EngineConfig(
            "embedded", GROUP, Path("model.gguf"), sha256(b"model"), Address("127.0.0.1", 1), 1, 256 * slots, slots, "", ""
        )
        metrics = ServingMetrics(GROUP, registry)
        rng = _counter(len(self.nodes))
        answering = Answering(config, key, engine, group, lambda: self.directory, peers, metrics, rng)
        forwards = ForwardServer(ForwardGate(own, GROUP, lambda: self.directory), answering.answer)
        runner, address = await serve([*group.routes(), *forwards.routes()])
        node = Node(key, llama, engine, group, answering, dialer, forwards, [runner, llama_runner], address)
        self.nodes.append(node)
        self.list(node)
        return node

    async def meet(self) -> None:
        """Start the exchange of the group, and wait until every trusted node counts the others as reachable."""
        for node in self.nodes:
            await node.group.start()
        trusted = [node for node in self.nodes if self.directory.get(node.id).trusted]  # type: ignore[union-attr]
        for _ in range(500):
            if all(len(node.group.decide((1,)).candidates) == len(trusted) for node in trusted):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the model nodes do not reach each other")

    def list(self, node: Node, *, trusted: bool = True, group: str = GROUP) -> None:
        """Put a node into the directory, as it should appear."""
        entry = DirectoryEntry(
            node_id=node.id,
            signing_key=node.key.public,
            role=Role.MODEL,
            name=f"model-{self.nodes.index(node)}",
            address=node.address,
            group=group,
            model_hash=sha256(b"model"),
            reputation=5 * 10**8,
            trusted=trusted,
        )
        self.entries = sorted([e for e in self.entries if e.node_id != node.id] + [entry], key=lambda e: e.node_id)
        height = self.directory.height + 1
        self.directory = Directory(DirectoryRecord("test", 1, height, b"", tuple(self.entries)), height)


def _counter(start: int) -> Callable[[int], bytes]:
    state = [start << 32]

    def rng(size: int) -> bytes:
        state[0] += 1
        return sha256(state[0].to_bytes(8, "big"))[:size]

    return rng


@pytest.fixture
async def net() -> AsyncIterator[TestNetwork]:
    network = TestNetwork()
    yield network
    for node in network.nodes:
        await node.close()


@pytest.fixture
def fake_llama() -> type[FakeLlama]:
    return FakeLlama
