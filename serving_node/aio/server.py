"""The sidecar: one model node's processes and connections, wired, run, and drained.

Order of start: engine, chain, port, registration; a node is in the directory only once it can answer. Order of end:
refuse new requests, let the running ones finish for a while, then stop the engine.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine

from prometheus_client import CollectorRegistry

from network.aio.chain_client import client_of
from network.aio.dialer import dialer_of
from network.aio.key_keeper import KeyKeeper
from network.aio.keys import NodeKeys
from network.aio.listening import PublicPort
from network.aio.neighbours import Neighbours
from network.aio.ops import OpsServer
from network.aio.registration import keep_registered
from network.chain_records import DirectoryEntry
from network.chain_tx import RegisterNode
from network.hpke import OnionPrivate
from network.ids import Role
from network.inference import InferenceRequest, ReplyFrame
from serving_node.aio.answering import Answering
from serving_node.aio.clove_server import CloveServer, ReplyStream
from serving_node.aio.embedded import EmbeddedEngine
from serving_node.aio.group import Group
from serving_node.aio.load_feed import LoadFeed
from serving_node.aio.metrics import ServingMetrics
from serving_node.aio.peers import ForwardServer, PeerClient
from serving_node.aio.vllm import VllmEngine
from serving_node.config import EngineConfig, ServingConfig
from serving_node.engine import Engine
from serving_node.forwarding import ForwardGate
from serving_node.generation import EngineSample

log = logging.getLogger(__name__)

DRAIN_S = 10.0


def make_engine(config: EngineConfig) -> Engine:
    """The engine that the settings name."""
    return VllmEngine(config) if config.kind == "vllm" else EmbeddedEngine(config)


class Sidecar:
    """One model node."""

    def __init__(self, config: ServingConfig, keys: NodeKeys, engine: Engine) -> None:
        node = config.node
        self._config = config
        self._keys = keys
        self._engine = engine
        self._chain = client_of(node)
        registry = CollectorRegistry()
        group = config.engine.group
        self._dialer = dialer_of(node)
        self._cloves = CloveServer(keys.onion.current.x25519, self._on_cloves, os.urandom, limits=config.limits)
        self._group = Group(
            keys.node_id,
            keys.signing,
            lambda: self._chain.directory_now,
            group,
            config.policy,
            os.urandom,
            self._dialer,
            registry=registry,
            opener=self._cloves.opener,
        )
        engine.on_restart = self._group.observe_engine_restarted
        self._peers = PeerClient(self._dialer)
        metrics = ServingMetrics(group, registry)
        self._answering = Answering(
            config.engine,
            keys.signing,
            engine,
            self._group,
            lambda: self._chain.directory_now,
            self._peers,
            metrics,
            os.urandom,
        )
        metrics.watch(self._answering.admission)
        answering = self._answering
        self._load = LoadFeed(engine, answering.admission, self._group, answering.load_changed, config.engine.context)
        self._inflight: set[asyncio.Task[None]] = set()
        self._keeper = KeyKeeper(node.keys, keys, self._entry, self._use_keys, os.urandom, hybrid=True)
        self._keeper.start()
        gate = ForwardGate(keys.node_id, group, lambda: self._chain.directory_now)
        self._forwards = ForwardServer(gate, self._on_forward)
        self._neighbours = Neighbours(node, keys.signing, lambda: self._chain.directory_now, self._dialer)
        routes = [*self._cloves.routes(), *self._group.routes(), *self._forwards.routes(), *self._neighbours.routes()]
        self._port = PublicPort(node, keys.signing, routes)
        self._ops = OpsServer(node.metrics, self.status, registry, [*self._neighbours.ops_routes(), *self._group.ops_routes()])

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set or a part that must live has died; then drain and close."""
        await self._ops.start()
        tasks: set[asyncio.Task[object]] = set()
        try:
            if not await _before(stop, self._engine.start()):
                return
            await self._chain.start()
            await self._group.start()
            await self._port.start()
            tasks = {asyncio.create_task(work) for work in self._work(stop)}
            log.info("serving", extra={"fields": {"model": self._config.engine.group, "address": self._config.node.public}})
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await self._drain()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._cloves.close()
            await self._port.close()
            await self._group.close()
            await self._dialer.aclose()
            await self._chain.close()
            await self._engine.close()
            await self._ops.close()

    def status(self) -> dict[str, object]:
        """What `GET /status` answers."""
        node = self._config.node
        entry = self._entry()
        reason = self._chain.trouble or ("" if self._engine.healthy else "the engine does not answer")
        if not reason and entry is None:
            reason = self._neighbours.trouble or "not in the directory yet"
        return {
            "name": node.name,
            "role": "model",
            "ready": not reason,
            "reason": reason,
            "node_id": self._keys.node_id.hex(),
            "address": str(node.public),
            "model": self._config.engine.group,
            "trusted": entry is not None and entry.trusted,
            "running": self._answering.admission.running,
            "waiting": self._answering.admission.waiting,
            "directory_height": self._chain.directory_now.height,
            "gossip": self._neighbours.status(),
            "counts": {**self._cloves.counts, **{f"forward_{word}": n for word, n in self._forwards.refused.items()}},
        }

    def _work(self, stop: asyncio.Event) -> list[Coroutine[None, None, object]]:
        return [
            stop.wait(),
            self._chain.follow(),
            self._neighbours.once_reachable(lambda: keep_registered(self._chain, self._keys, self._describe)),
            self._load.run(),
            self._neighbours.run(),
            self._keeper.run(),
        ]

    def _describe(self) -> RegisterNode:
        """What the ledger is to say about this node."""
        engine, node, keys = self._config.engine, self._config.node, self._keeper.keys
        return RegisterNode(
            role=Role.MODEL,
            name=node.name,
            onion_key=keys.onion_public,
            address=str(node.public),
            family=node.family,
            group=engine.group,
            model_hash=engine.model_hash,
            hybrid_key=keys.hybrid_public,
        )

    def _entry(self) -> DirectoryEntry | None:
        return self._chain.directory_now.get(self._keys.node_id)

    def _use_keys(self, generations: tuple[OnionPrivate, ...]) -> None:
        self._cloves.opener.turn(*generations)

    async def _on_cloves(self, raw: bytes, stream: ReplyStream) -> None:
        await self._counted(self._answering.answer_bytes(raw, stream.send))

    async def _on_forward(
        self, request: InferenceRequest, visited: tuple[bytes, ...], send: Callable[[ReplyFrame], None]
    ) -> None:
        await self._counted(self._answering.answer(request, visited, send))

    async def _counted(self, work: Awaitable[None]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._inflight.add(task)
        try:
            await work
        finally:
            self._inflight.discard(task)

    async def _drain(self) -> None:
        """Refuse what is new, say so to the group, and wait for what runs."""
        self._answering.admission.draining = True
        until = time.monotonic() + DRAIN_S
        self._load.tell(EngineSample())
        await self._group.farewell()
        if self._inflight:
            log.info("draining", extra={"fields": {"requests": len(self._inflight)}})
        while self._inflight and time.monotonic() < until:
            await asyncio.wait(set(self._inflight), timeout=until - time.monotonic())


async def _before(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do `work` unless `stop` is set first, which cancels it: whether it was done."""
    doing, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
    done = doing.done()
    for task in (doing, stopped):
        task.cancel()
    results = await asyncio.gather(doing, stopped, return_exceptions=True)
    if isinstance(results[0], Exception):
        raise results[0]
    return done
