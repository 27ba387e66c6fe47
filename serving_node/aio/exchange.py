"""The group's voice: exchanges posts and snapshots with the other model nodes of the group, over HTTP.

Owns the tasks and the waiting, and decides nothing itself. Posts go out a flush period after something changed, and
otherwise only to compare notes with a silent peer. A peer that cannot be reached is retried with growing pauses; a refused
message is counted and changes nothing. See `docs/forwarding.md` section 4.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine

from aiohttp import web

from network.aio.dialer import UNREACHABLE
from network.chain_records import DirectoryEntry
from network.codec import decode, encode
from network.directory import Directory
from network.errors import PlanetServeError
from network.hrtree.delta import MAX_POST, MAX_SNAPSHOT, Ack, Refused
from serving_node.aio.group_http import Answered, GroupHttp, bounded, hello_in, wall_ms, words
from serving_node.aio.group_metrics import GroupMetrics
from serving_node.aio.terms import TermsExchange
from serving_node.forwarder import Forwarder

log = logging.getLogger(__name__)

# Small groups hear of news within a second; in large ones everybody hears of everybody, so posts carry more at once.
SMALL_GROUP, LARGE_GROUP = 4, 8
FLUSH_LEAST_S, FLUSH_MOST_S = 1.0, 5.0
ANTI_ENTROPY_S = 30.0
DIRECTORY_S = 2.0
RETRY_FIRST_S, RETRY_MOST_S = 1.0, 60.0
SNAPSHOT_PAUSE_S = 2.0
POSTS_AT_ONCE = 8
FAREWELL_S = 1.0
MAX_ACK = 256
STATUS = {"oversized": 413, "garbage": 400, "clock": 400, "session": 409, "replay": 409, "quota": 429, "too-often": 429}


def flush_period(members: int) -> float:
    """Seconds for which changes wait for company, by the size of the group."""
    share = (members - SMALL_GROUP) / (LARGE_GROUP - SMALL_GROUP)
    return FLUSH_LEAST_S + (FLUSH_MOST_S - FLUSH_LEAST_S) * min(1.0, max(0.0, share))


class _Peer:
    """When we may next speak to one peer, and whether we are speaking now."""

    __slots__ = ("busy", "pause", "retry_at", "snapshot_at")

    def __init__(self) -> None:
        self.busy = False
        self.pause = 0.0
        self.retry_at = 0.0
        self.snapshot_at = 0.0


class Exchange:
    """Speaks for one node. `mind` gives its forwarder, up to date with the directory."""

    def __init__(
        self,
        mind: Callable[[], Forwarder],
        directory: Callable[[], Directory],
        terms: TermsExchange,
        metrics: GroupMetrics,
        rng: Callable[[int], bytes],
        http: GroupHttp,
        flush_s: float | None,
        anti_entropy_s: float,
    ) -> None:
        self._mind = mind
        self._directory = directory
        self._terms = terms
        self._metrics = metrics
        self._rng = rng
        self._http = http
        self._fixed_flush_s = flush_s
        self._anti_entropy_s = anti_entropy_s
        self._seal_at = time.monotonic() + anti_entropy_s
        self._peers: dict[bytes, _Peer] = {}
        self._wake = asyncio.Event()
        self._turns = asyncio.Semaphore(POSTS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def routes(self) -> list[web.RouteDef]:
        """What the sidecar's server answers for us."""
        return [
            web.post("/group/delta", self._on_delta),
            web.get("/group/snapshot", self._on_snapshot),
            web.get("/group/proof", self._on_proof),
            web.get("/group/terms", self._on_terms),
        ]

    def start(self) -> None:
        """Starts speaking: first to ask every peer where its log stands."""
        self._loop = asyncio.create_task(self._run(), name="group")
        self._loop.add_done_callback(_tell_death)

    async def close(self) -> None:
        """Ends every task."""
        tasks = [*self._tasks, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._terms.close(), return_exceptions=True)

    async def farewell(self) -> None:
        """Tells every peer that hears us what is new, at once; who cannot be told in time will notice our silence."""
        sync = self._mind().sync
        self._metrics.deltas_made(sync.journal.flush())
        near = [node for node, replica in sync.replicas.items() if replica.reachable]
        told = [self._deliver(node, self._peers.setdefault(node, _Peer())) for node in near]
        try:
            async with asyncio.timeout(FAREWELL_S):
                await asyncio.gather(*told, return_exceptions=True)
        except TimeoutError:
            log.info("some peers have not heard that this node stops")

    def stir(self, *, anyway: bool = False) -> None:
        """Something may have changed; `anyway` when it is a peer that fell silent."""
        if anyway or self._mind().sync.journal.dirty:
            self._wake.set()

    @property
    def _flush_s(self) -> float:
        if self._fixed_flush_s is not None:
            return self._fixed_flush_s
        return flush_period(len(self._mind().sync.replicas) + 1)

    async def _run(self) -> None:
        while True:
            if self._wake.is_set():
                # Changes of the next moments ride along.
                await asyncio.sleep(self._flush_s)
                self._wake.clear()
            sync = self._mind().sync
            now = time.monotonic()
            if now >= self._seal_at:
                self._seal_at = now + self._anti_entropy_s
                sync.journal.seal()
            self._metrics.deltas_made(sync.journal.flush())
            for gone in set(self._peers) - set(sync.replicas):
                del self._peers[gone]
            self._terms.tick(self._directory(), now, self.fetch_terms)
            for node in sync.replicas:
                peer = self._peers.setdefault(node, _Peer())
                if not peer.busy and now >= peer.retry_at and self._due(node) <= now:
                    peer.busy = True
                    self._spawn(self._speak(node, peer))
            await self._sleep(now)

    def _due(self, node: bytes) -> float:
        """From when on a peer is to be spoken to; never one that is ejected."""
        sync = self._mind().sync
        replica = sync.replicas[node]
        if replica.proof is not None:
            return float("inf")
        news = sync.owes(node) or self._terms.news_for(node)
        return float("-inf") if news else replica.contact_at + self._anti_entropy_s

    async def _sleep(self, now: float) -> None:
        """Until something changes, or the earliest retry or comparison is due."""
        # The directory changes without a word to us.
        until = now + min(DIRECTORY_S, self._anti_entropy_s)
        for node, peer in self._peers.items():
            if not peer.busy:
                until = min(until, max(self._due(node), peer.retry_at))
        try:
            async with asyncio.timeout(max(self._flush_s / 4, until - now)):
                await self._wake.wait()
        except TimeoutError:
            return

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _speak(self, node: bytes, peer: _Peer) -> None:
        """Brings one peer up to date, and ourselves with it."""
        try:
            async with self._turns:
                await self._deliver(node, peer)
            peer.pause = peer.retry_at = 0.0
        except (*UNREACHABLE, PlanetServeError) as error:
            peer.pause = min(RETRY_MOST_S, peer.pause * 2 or RETRY_FIRST_S)
            jitter = self._rng(1)[0] / 256
            peer.retry_at = time.monotonic() + peer.pause * (0.75 + jitter / 2)
            self._metrics.failed()
            self._mind().sync.on_silence(node)
            fields = {"peer": node.hex(), "reason": words(error), "again_in_s": peer.pause}
            log.info("a peer could not be brought up to date; trying again", extra={"fields": fields})
        finally:
            peer.busy = False
            if node in self._mind().sync.replicas and self._due(node) == float("-inf"):
                self._wake.set()

    async def _deliver(self, node: bytes, peer: _Peer) -> None:
        sync = self._mind().sync
        progress = -1
        while node in sync.replicas and progress < sync.replicas[node].acked:
            progress, named = sync.replicas[node].acked, sync.terms
            answer = await self._post(node)
            behind = sync.on_ack(node, decode(Ack, answer), time.monotonic())
            self._terms.told(node, named)
            self._terms.heard(node, time.monotonic(), self.fetch_terms)
            if behind:
                await self._fetch_snapshot(node, peer)
            if node not in sync.replicas or not sync.owes(node):
                return

    async def _post(self, node: bytes) -> bytes:
        """One post, and once more where the peer does not know our session: it has restarted, or lost count."""
        try:
            return await self._post_once(node)
        except Answered as refusal:
            if refusal.status != STATUS["session"]:
                raise
            self._mind().sync.reopen(node)
            return await self._post_once(node)

    async def _post_once(self, node: bytes) -> bytes:
        raw = self._mind().sync.post_for(node, wall_ms())
        started = time.monotonic()
        answer = await self._http.post(self._entry(node), "/group/delta", MAX_ACK, raw)
        self._mind().saw_rtt(node, time.monotonic() - started)
        self._metrics.sent("posts", len(raw))
        self._metrics.received("acks", len(answer))
        return answer

    async def _fetch_snapshot(self, node: bytes, peer: _Peer) -> None:
        """Asks a peer for all it holds, or what differs; at most once per pause, whatever it answers."""
        sync = self._mind().sync
        now = time.monotonic()
        if node not in sync.replicas or now < peer.snapshot_at:
            return
        peer.snapshot_at = now + SNAPSHOT_PAUSE_S
        hello = sync.hello_for(node, wall_ms(), pages=True)
        raw = await self._http.get(self._entry(node), "/group/snapshot", MAX_SNAPSHOT + 128, hello)
        self._metrics.sent("hellos", len(hello))
        self._metrics.received("snapshots", len(raw))
        try:
            sync.on_snapshot(node, raw, time.monotonic())
        except Refused as refused:
            self._metrics.refused(refused.reason)
            raise

    async def fetch_terms(self, node: bytes, hello: bytes, limit: int) -> bytes:
        """A peer's answer to `GET /group/terms`."""
        return await self._http.get(self._entry(node), "/group/terms", limit, hello)

    def _entry(self, node: bytes) -> DirectoryEntry:
        entry = self._mind().entries.get(node)
        if entry is None:
            raise PlanetServeError("the peer has left the directory")
        return entry

    async def _on_delta(self, request: web.Request) -> web.Response:
        return await self._guarded(self._take_post(request))

    async def _take_post(self, request: web.Request) -> web.Response:
        raw = await bounded(request.content, MAX_POST)
        received = self._mind().sync.on_post(raw, time.monotonic(), wall_ms())
        self._terms.heard(received.origin, time.monotonic(), self.fetch_terms)
        answer = encode(received.ack)
        self._metrics.received("posts", len(raw))
        self._metrics.sent("acks", len(answer))
        if received.needs_snapshot:
            self._spawn(self._catch_up(received.origin, self._peers.setdefault(received.origin, _Peer())))
        return web.Response(body=answer, content_type="application/octet-stream")

    async def _catch_up(self, node: bytes, peer: _Peer) -> None:
        try:
            await self._fetch_snapshot(node, peer)
        except (*UNREACHABLE, PlanetServeError) as error:
            self._metrics.failed()
            fields = {"peer": node.hex(), "reason": words(error)}
            log.info("a peer's snapshot could not be fetched; the next exchange asks again", extra={"fields": fields})

    async def _on_snapshot(self, request: web.Request) -> web.Response:
        return await self._guarded(self._give_snapshot(request))

    async def _give_snapshot(self, request: web.Request) -> web.Response:
        hello = hello_in(request)
        raw = self._mind().sync.on_snapshot_request(hello, wall_ms())
        self._metrics.received("hellos", len(hello))
        self._metrics.sent("snapshots", len(raw))
        return web.Response(body=raw, content_type="application/octet-stream")

    async def _on_terms(self, request: web.Request) -> web.Response:
        return await self._guarded(self._give_terms(request))

    async def _give_terms(self, request: web.Request) -> web.Response:
        self._mind()
        self._terms.follow(self._directory())
        raw = self._terms.answer(hello_in(request), wall_ms(), time.monotonic())
        return web.Response(body=raw, content_type="application/octet-stream")

    async def _on_proof(self, request: web.Request) -> web.Response:
        """Whatever we can prove against members; anybody with the directory can check it."""
        return web.Response(body=encode(self._mind().sync.proofs()), content_type="application/octet-stream")

    async def _guarded(self, work: Awaitable[web.Response]) -> web.Response:
        """The answer, or a status and one word for a message that is refused; counted either way."""
        try:
            return await work
        except Refused as refused:
            self._metrics.refused(refused.reason)
            # Equivocation is an operator's business: somebody runs one key twice, or cheats.
            log.log(
                logging.WARNING if refused.reason == "equivocation" else logging.DEBUG, "group message refused: %s", refused
            )
            return web.json_response({"error": refused.reason}, status=STATUS.get(refused.reason, 403))


def _tell_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the exchange with the group has died; restart this node", exc_info=task.exception())
