"""What nodes tell each other beside cells, over HTTP: which directory they route by, and who is there.

Relays and model nodes serve it on the port that they register (`GossipServer`) and ask each other (`Gossiper`); users only
pull from their guards (`LivenessFeed`) and send nothing of their own (`docs/overlay.md` section 11).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from aiohttp import web

from network.aio.dialer import UNREACHABLE, Dialer
from network.aio.requests import bounded_body, exchange
from network.chain_records import DirectoryEntry
from network.codec import decode, encode
from network.directory import Directory
from network.directory_summary import DIRECTORY_PATH, SUMMARY_LIMIT, DirectorySummary, summary_of
from network.errors import RemoteProtocolError
from network.freshness import Rng
from network.gossip import ANSWER_LIMIT, GOSSIP_PATH, REQUEST_LIMIT, Gossip, GossipStatus
from network.liveness import Liveness
from network.rates import Allowances

log = logging.getLogger(__name__)

ASK_SECONDS = 5.0
PER_SECOND, BURST = 20.0, 200.0  # requests of one host; all nodes of one machine are one host
MOST_ASKED = 8  # questions that wait for an answer
PULLED_GUARDS = 2
PULL_PERIODS = 1.5

_FAILED = (*UNREACHABLE, RemoteProtocolError)


class GossipServer:
    """`GET /directory`, `GET /gossip` and `POST /gossip` of one node."""

    def __init__(self, gossip: Gossip, directory: Callable[[], Directory], clock: Callable[[], float] = time.time) -> None:
        self._gossip = gossip
        self._directory = directory
        self._clock = clock
        self._hosts = Allowances(PER_SECOND, BURST)

    def routes(self) -> list[web.RouteDef]:
        """Beside the node's other endpoints."""
        return [
            web.get(DIRECTORY_PATH, self._summary),
            web.get(GOSSIP_PATH, self._pulled),
            web.post(GOSSIP_PATH, self._asked),
        ]

    async def _summary(self, request: web.Request) -> web.Response:
        return self._refusal(request) or web.Response(body=encode(summary_of(self._directory())))

    async def _pulled(self, request: web.Request) -> web.Response:
        return self._refusal(request) or web.Response(body=self._gossip.everything(self._clock()))

    async def _asked(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            raw = await bounded_body(request.content, REQUEST_LIMIT, ASK_SECONDS)
            return web.Response(body=self._gossip.on_question(raw, self._clock()))
        except (RemoteProtocolError, TimeoutError):
            return web.Response(status=400)

    def _refusal(self, request: web.Request) -> web.Response | None:
        allowed = self._hosts.take(request.remote or "", self._clock())
        return None if allowed else web.Response(status=429)


class Gossiper:
    """A relay's or model node's part: every period it asks two peers."""

    def __init__(self, gossip: Gossip, dialer: Dialer, rng: Rng, clock: Callable[[], float] = time.time) -> None:
        self._gossip = gossip
        self._dialer = dialer
        self._rng = rng
        self._clock = clock
        self._asking: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled (run it as a task, once the node listens). Who does not answer holds nobody up."""
        try:
            while True:
                peers = self._gossip.peers(self._clock()) if len(self._asking) < MOST_ASKED else []
                for peer in peers:
                    task = asyncio.create_task(self._ask(peer))
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
                await asyncio.sleep(self._gossip.period() * (0.75 + self._rng(1)[0] / 512))
        finally:
            for task in self._asking:
                task.cancel()
            await asyncio.gather(*self._asking, return_exceptions=True)

    async def _ask(self, peer: DirectoryEntry) -> None:
        question = self._gossip.question(self._clock())
        try:
            raw = await exchange(self._dialer, "POST", peer, GOSSIP_PATH, ANSWER_LIMIT, ASK_SECONDS, question)
            await _learn(self._gossip, raw, self._clock)
        except _FAILED as error:
            log.debug("node %s does not gossip: %s", peer.name, type(error).__name__)
            self._gossip.failed(peer.node_id, self._clock())
        else:
            self._gossip.worked(peer.node_id)


class LivenessFeed:
    """A user's part: it pulls from two of its guards, and tells them no more than that somebody is there.

    A guard that does not answer comes last in turn; whether it still carries cells is for the circuits to find out.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        guards: Callable[[], Sequence[DirectoryEntry]],
        dialer: Dialer,
        rng: Rng,
        on_heard: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`on_heard` is called after every round of pulls: somebody may have fallen silent."""
        self._liveness = Liveness(directory)
        self._gossip = Gossip(directory().record.chain_id, directory, self._liveness, rng)
        self._guards = guards
        self._dialer = dialer
        self._rng = rng
        self._on_heard = on_heard
        self._clock = clock
        self._failed_at: dict[bytes, float] = {}

    def usable(self, node: DirectoryEntry) -> bool:
        """Whether to rely on this listed node now."""
        return self._liveness.usable(node, self._clock())

    def status(self) -> GossipStatus:
        """For the status page of the role."""
        return self._gossip.status(self._clock())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            guards = sorted(self._guards(), key=lambda guard: self._failed_at.get(guard.node_id, 0.0))
            self._failed_at = {guard.node_id: self._failed_at.get(guard.node_id, 0.0) for guard in guards}
            await asyncio.gather(*(self._pull(guard) for guard in guards[:PULLED_GUARDS]))
            self._on_heard()
            await asyncio.sleep(PULL_PERIODS * self._gossip.period() * (0.75 + self._rng(1)[0] / 512))

    async def _pull(self, guard: DirectoryEntry) -> None:
        try:
            raw = await exchange(self._dialer, "GET", guard, GOSSIP_PATH, ANSWER_LIMIT, ASK_SECONDS)
            await _learn(self._gossip, raw, self._clock)
        except _FAILED as error:
            log.debug("a guard does not gossip: %s", type(error).__name__)
            self._failed_at[guard.node_id] = self._clock()


async def fetch_summary(dialer: Dialer, node: DirectoryEntry) -> DirectorySummary:
    """Which directory a node routes by. Raises one of `dialer.UNREACHABLE`, or DecodeError."""
    return decode(DirectorySummary, await exchange(dialer, "GET", node, DIRECTORY_PATH, SUMMARY_LIMIT, ASK_SECONDS))


async def _learn(gossip: Gossip, raw: bytes, clock: Callable[[], float]) -> None:
    """Take an answer in slices, so that cells do not wait for signatures."""
    for _ in gossip.on_answer(raw, clock()):
        await asyncio.sleep(0)
