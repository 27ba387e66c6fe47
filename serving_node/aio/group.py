"""One model node's part in its group: its mind (`serving_node/aio/mind.py`), and the exchange that keeps it informed."""

import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry

from network.aio.dialer import Dialer
from network.crypto import SigningKey
from network.directory import Directory
from network.hpke import Opener
from network.hrtree.fingerprint import ChunkPlan, Unit
from network.hrtree.sentry import Sentry
from network.hrtree.terms import SECRET_LENGTH
from network.hrtree.terms_book import TermsBook
from network.ids import NodeId
from serving_node.aio.exchange import ANTI_ENTROPY_S, Exchange
from serving_node.aio.group_http import GroupHttp
from serving_node.aio.group_metrics import GroupMetrics
from serving_node.aio.mind import Mind
from serving_node.aio.route_metrics import RouteMetrics
from serving_node.aio.terms import TermsExchange
from serving_node.aio.terms_metrics import TermsMetrics
from serving_node.breaker import Fault
from serving_node.forwarder import Forwarder
from serving_node.routing import Decision


class Group(Mind):
    """A mind that speaks with its peers. `flush_s` is how long changes wait for company; None goes by the group's size."""

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
        flush_s: float | None = None,
        anti_entropy_s: float = ANTI_ENTROPY_S,
    ) -> None:
        incarnation = time.time_ns() // 1_000_000
        plan = plan or ChunkPlan()
        sentry = Sentry(rng(SECRET_LENGTH), plan)
        forwarder = Forwarder(own, signing, directory(), group, policy, rng, incarnation, plan, unit=unit, sentry=sentry)
        registry = registry or REGISTRY
        metrics = GroupMetrics(forwarder, registry)
        super().__init__(forwarder, directory, metrics, RouteMetrics(forwarder, registry), lambda: self.exchange.stir())
        book = TermsBook(own, signing, group, plan, opener or Opener(), rng)
        TermsMetrics(book, sentry, registry)
        secret = rng(SECRET_LENGTH)
        self.terms = TermsExchange(forwarder, book, sentry, plan, secret, lambda: self.exchange.stir(anyway=True))
        http = GroupHttp(dialer)
        self.exchange = Exchange(self.mind, directory, self.terms, metrics, rng, http, flush_s, anti_entropy_s)

    def routes(self) -> list[web.RouteDef]:
        """What the sidecar's server answers for us."""
        return self.exchange.routes()

    async def start(self) -> None:
        """Starts speaking: first to ask every peer where its log stands."""
        self.exchange.start()

    async def close(self) -> None:
        """Stops speaking; what peers hold of us stays until the directory drops us."""
        await self.exchange.close()

    async def farewell(self) -> None:
        """Tells every peer that hears us what is new, at once."""
        await self.exchange.farewell()

    def observe_failed(self, decision: Decision, *, node: bytes = b"", fault: Fault = Fault.UNREACHABLE) -> None:
        """As `Mind` has it; and a peer that could not be reached is spoken to at once."""
        super().observe_failed(decision, node=node, fault=fault)
        self.exchange.stir(anyway=True)
