"""The group's voice: exchanges deltas and snapshots with the other model nodes of the group, over HTTP.

The shell around `serving_node/forwarder.py`: it owns the clock, the session and the tasks, and decides nothing itself. Posts
go out about a second after something changed, and otherwise only to compare sequence numbers with a silent peer. A peer
that cannot be reached is retried with growing pauses; a refused message is counted and changes nothing.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry

from network.aio.dialer import UNREACHABLE, Dialer
from network.chain_records import DirectoryEntry
from network.codec import decode, encode
from network.crypto import SigningKey
from network.directory import Directory
from network.errors import PlanetServeError
from network.fingerprint import ChunkPlan, Unit
from network.hpke import Opener
from network.hrdelta import MAX_POST, MAX_SNAPSHOT, Ack, Refused
from network.hrterms import SECRET_LENGTH
from network.ids import NodeId
from network.sentry import Sentry
from network.terms_book import TermsBook
from serving_node.aio.group_http import GroupHttp, bounded, hello_in, wall_ms, words
from serving_node.aio.group_metrics import GroupMetrics
from serving_node.aio.mind import Mind
from serving_node.aio.route_metrics import RouteMetrics
from serving_node.aio.terms import TermsExchange
from serving_node.breaker import Fault
from serving_node.forwarder import Forwarder
from serving_node.routing import Decision

log = logging.getLogger(__name__)

FLUSH_S = 1.0
ANTI_ENTROPY_S = 30.0
DIRECTORY_S = 2.0
RETRY_FIRST_S, RETRY_MOST_S = 1.0, 60.0
SNAPSHOT_PAUSE_S = 2.0
FAREWELL_S = 1.0
MAX_ACK = 256
STATUS = {"oversized": 413, "garbage": 400, "clock": 400, "too-often": 429}


class _Peer:
    """When we may next speak to one peer, and whether we are speaking now."""

    __slots__ = ("busy", "pause", "retry_at", "snapshot_at")

    def __init__(self) -> None:
        self.busy = False
        self.pause = 0.0
        self.retry_at = 0.0
        self.snapshot_at = 0.0


class Group(Mind):
    """One model node's part in its group: its mind, and the exchange that keeps it informed."""

    def __init__(
        self,
        own: NodeId,
        signing: SigningKey,
        directory: Callable[[], Directory],
        group: str,
        policy: str,
        rng: Callable[[int], bytes],
        dialer: Dialer,
        *,
        registry: CollectorRegistry | None = None,
        plan: ChunkPlan | None = None,
        unit: Unit = Unit.TOKENS,
        opener: Opener | None = None,
        flush_s: float = FLUSH_S,
        anti_entropy_s: float = ANTI_ENTROPY_S,
    ) -> None:
        self._rng = rng
        self._http = GroupHttp(dialer)
        self._flush_s = flush_s
        self._anti_entropy_s = anti_entropy_s
        incarnation = time.time_ns() // 1_000_000
        plan = plan or ChunkPlan()
        sentry = Sentry(rng(SECRET_LENGTH), plan)
        forwarder = Forwarder(own, signing, directory(), group, policy, rng, incarnation, plan, unit=unit, sentry=sentry)
        registry = registry or REGISTRY
        super().__init__(
            forwarder, directory, GroupMetrics(forwarder, registry), RouteMetrics(forwarder, registry), self._wake_for_news
        )
        book = TermsBook(own, signing, group, plan, opener or Opener(), rng)
        self.terms = TermsExchange(forwarder, book, sentry, plan, rng(SECRET_LENGTH), lambda: self._wake.set())
        self._peers: dict[bytes, _Peer] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def routes(self) -> list[web.RouteDef]:
        """What the sidecar's server answers for us."""
        return [
            web.post("/group/delta", self._on_delta),
            web.get("/group/snapshot", self._on_snapshot),
            web.get("/group/terms", self._on_terms),
        ]

    async def start(self) -> None:
        """Starts speaking: first to ask every peer where its log stands."""
        self._loop = asyncio.create_task(self._run(), name="group")
        self._loop.add_done_callback(_tell_death)

    async def close(self) -> None:
        """Stops speaking; what peers hold of us stays until the directory drops us."""
        tasks = [*self._tasks, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self.terms.close(), return_exceptions=True)

    async def farewell(self) -> None:
        """Tells every peer that hears us what is new, at once; who cannot be told in time will notice our silence."""
        sync = self.mind().sync
        self.metrics.deltas_made(sync.journal.flush())
        near = [node for node, replica in sync.replicas.items() if replica.reachable]
        told = [self._deliver(node, self._peers.setdefault(node, _Peer())) for node in near]
        try:
            async with asyncio.timeout(FAREWELL_S):
                await asyncio.gather(*told, return_exceptions=True)
        except TimeoutError:
            log.info("some peers have not heard that this node stops")

    def _wake_for_news(self) -> None:
        if self.forwarder.sync.journal.dirty:
            self._wake.set()

    def observe_failed(self, decision: Decision, *, node: bytes = b"", fault: Fault = Fault.UNREACHABLE) -> None:
        """As `Mind` has it; and a peer that could not be reached is spoken to at once."""
        super().observe_failed(decision, node=node, fault=fault)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            if self._wake.is_set():
                # Changes of the next moments ride along.
                await asyncio.sleep(self._flush_s)
                self._wake.clear()
            sync = self.mind().sync
            self.metrics.deltas_made(sync.journal.flush())
            for gone in set(self._peers) - set(sync.replicas):
                del self._peers[gone]
            now = time.monotonic()
            self.terms.tick(self._directory(), now, self._fetch_terms)
            for node in sync.replicas:
                peer = self._peers.setdefault(node, _Peer())
                if not peer.busy and now >= peer.retry_at and self._due(node, now):
                    self._spawn(node, peer)
            await self._sleep(now)

    def _due(self, node: bytes, now: float) -> bool:
        replica = self.forwarder.sync.replicas[node]
        if replica.acked < self.forwarder.sync.journal.sequence or self.terms.news_for(node):
            return True
        return now >= replica.contact_at + self._anti_entropy_s

    async def _sleep(self, now: float) -> None:
        """Until something changes, or the earliest retry or comparison is due."""
        replicas = self.forwarder.sync.replicas
        # The directory changes without a word to us.
        until = now + min(DIRECTORY_S, self._anti_entropy_s)
        for node, peer in self._peers.items():
            if not peer.busy:
                behind = replicas[node].acked < self.forwarder.sync.journal.sequence or self.terms.news_for(node)
                due = now if behind else replicas[node].contact_at + self._anti_entropy_s
                until = min(until, max(due, peer.retry_at))
        try:
            async with asyncio.timeout(max(self._flush_s / 4, until - now)):
                await self._wake.wait()
        except TimeoutError:
            return

    def _spawn(self, node: bytes, peer: _Peer) -> None:
        peer.busy = True
        task = asyncio.create_task(self._speak(node, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _speak(self, node: bytes, peer: _Peer) -> None:
        """Brings one peer up to date, and ourselves with it."""
        try:
            await self._deliver(node, peer)
            peer.pause = peer.retry_at = 0.0
        except (*UNREACHABLE, PlanetServeError) as error:
            peer.pause = min(RETRY_MOST_S, peer.pause * 2 or RETRY_FIRST_S)
            jitter = self._rng(1)[0] / 256
            peer.retry_at = time.monotonic() + peer.pause * (0.75 + jitter / 2)
            self.metrics.failed()
            self.forwarder.sync.on_silence(node)
            fields = {"peer": node.hex(), "reason": words(error), "again_in_s": peer.pause}
            log.info("a peer could not be brought up to date; trying again", extra={"fields": fields})
        finally:
            peer.busy = False
            self._wake_if_behind(node)

    def _wake_if_behind(self, node: bytes) -> None:
        replica = self.forwarder.sync.replicas.get(node)
        if replica and replica.acked < self.forwarder.sync.journal.sequence:
            self._wake.set()

    async def _deliver(self, node: bytes, peer: _Peer) -> None:
        sync = self.forwarder.sync
        progress = -1
        while node in sync.replicas and progress < sync.replicas[node].acked:
            progress = sync.replicas[node].acked
            raw, named = sync.post_for(node, wall_ms()), sync.terms
            started = time.monotonic()
            answer = await self._http.post(self._entry(node), "/group/delta", MAX_ACK, raw)
            self.forwarder.saw_rtt(node, time.monotonic() - started)
            self.metrics.sent(len(raw))
            behind = sync.on_ack(node, decode(Ack, answer), time.monotonic())
            self.terms.told(node, named)
            self.terms.heard(node, time.monotonic(), self._fetch_terms)
            if behind:
                await self._fetch_snapshot(node, peer)
            if node not in sync.replicas or sync.replicas[node].acked >= sync.journal.sequence:
                return

    async def _fetch_snapshot(self, node: bytes, peer: _Peer) -> None:
        """Asks a peer for all it holds; at most once per pause, whatever it answers."""
        sync = self.forwarder.sync
        now = time.monotonic()
        if node not in sync.replicas or now < peer.snapshot_at:
            return
        peer.snapshot_at = now + SNAPSHOT_PAUSE_S
        hello = sync.hello_for(node, wall_ms())
        raw = await self._http.get(self._entry(node), "/group/snapshot", MAX_SNAPSHOT + 128, hello)
        try:
            sync.on_snapshot(node, raw, time.monotonic())
        except Refused as refused:
            self.metrics.refused(refused.reason)
            raise

    async def _fetch_terms(self, node: bytes, hello: bytes, limit: int) -> bytes:
        return await self._http.get(self._entry(node), "/group/terms", limit, hello)

    def _entry(self, node: bytes) -> DirectoryEntry:
        entry = self.forwarder.entries.get(node)
        if entry is None:
            raise PlanetServeError("the peer has left the directory")
        return entry

    async def _on_delta(self, request: web.Request) -> web.Response:
        return await self._guarded(self._take_post(request))

    async def _take_post(self, request: web.Request) -> web.Response:
        raw = await bounded(request.content, MAX_POST)
        received = self.mind().sync.on_post(raw, time.monotonic(), wall_ms())
        self.metrics.received(len(raw))
        self.terms.heard(received.origin, time.monotonic(), self._fetch_terms)
        if received.needs_snapshot:
            peer = self._peers.setdefault(received.origin, _Peer())
            task = asyncio.create_task(self._catch_up(received.origin, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return web.Response(body=encode(received.ack), content_type="application/octet-stream")

    async def _catch_up(self, node: bytes, peer: _Peer) -> None:
        try:
            await self._fetch_snapshot(node, peer)
        except (*UNREACHABLE, PlanetServeError) as error:
            self.metrics.failed()
            fields = {"peer": node.hex(), "reason": words(error)}
            log.info("a peer's snapshot could not be fetched; the next exchange asks again", extra={"fields": fields})

    async def _on_snapshot(self, request: web.Request) -> web.Response:
        return await self._guarded(self._give_snapshot(request))

    async def _give_snapshot(self, request: web.Request) -> web.Response:
        raw = self.mind().sync.on_snapshot_request(hello_in(request), wall_ms())
        return web.Response(body=raw, content_type="application/octet-stream")

    async def _on_terms(self, request: web.Request) -> web.Response:
        return await self._guarded(self._give_terms(request))

    async def _give_terms(self, request: web.Request) -> web.Response:
        self.mind()
        self.terms.follow(self._directory())
        raw = self.terms.answer(hello_in(request), wall_ms(), time.monotonic())
        return web.Response(body=raw, content_type="application/octet-stream")

    async def _guarded(self, work: Awaitable[web.Response]) -> web.Response:
        """The answer, or a status and one word for a message that is refused; counted either way."""
        try:
            return await work
        except Refused as refused:
            self.metrics.refused(refused.reason)
            # Equivocation is an operator's business: somebody runs one key twice, or cheats.
            log.log(
                logging.WARNING if refused.reason == "equivocation" else logging.DEBUG, "group message refused: %s", refused
            )
            return web.json_response({"error": refused.reason}, status=STATUS.get(refused.reason, 403))


def _tell_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the exchange with the group has died; restart this node", exc_info=task.exception())
