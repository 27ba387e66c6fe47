"""Fetching, giving and issuing the group's terms: the shell around `hrtree/terms_book.py`, beside the exchange.

What peers hold shows in their Hellos and Acks; who holds something else than we do is asked once, and a member that is to issue
first asks all others what they propose. Nothing here is ever logged but numbers and node ids.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from network.aio.dialer import UNREACHABLE
from network.directory import SETTLE_SECONDS, Directory
from network.errors import PlanetServeError
from network.hrtree.delta import Refused
from network.hrtree.fingerprint import ChunkPlan
from network.hrtree.sentry import Sentry
from network.hrtree.terms import MAX_ANSWER, HeldTerms, plan_of
from network.hrtree.terms_book import TermsBook
from serving_node.aio.group_http import wall_ms
from serving_node.forwarder import Forwarder

log = logging.getLogger(__name__)

GIVE_UP_S = 2 * SETTLE_SECONDS
RETRY_S = 0.5
ASK_AGAIN_S = 10.0
Fetch = Callable[[bytes, bytes, int], Awaitable[bytes]]


class TermsExchange:
    """Keeps one node's terms those of its group. `fetch(node, hello, limit)` asks a peer; `changed` is told of news."""

    def __init__(
        self, forwarder: Forwarder, book: TermsBook, sentry: Sentry, plan: ChunkPlan, secret: bytes, changed: Callable[[], None]
    ) -> None:
        self.book = book
        self._forwarder = forwarder
        self._sentry = sentry
        self._plan = plan
        self._changed = changed
        self._directory_hash = b""
        self._trusted_since = float("inf")
        self._told: dict[bytes, bytes] = {}
        self._asked: dict[bytes, tuple[bytes, float]] = {}
        self._retry_at: dict[bytes, float] = {}
        self._tasks: dict[bytes, asyncio.Task[None]] = {}
        # Until the group has told us, our symbols are our own: nothing is ever said under a key that others could know.
        forwarder.adopt_terms(forwarder.index.generation, plan, secret)

    def tick(self, directory: Directory, now: float, fetch: Fetch) -> None:
        """Does what is due: takes in the directory, asks who holds other terms, issues what nobody issued."""
        self.follow(directory)
        if self.book.trusted:
            self._trusted_since = min(self._trusted_since, now)
        for node in self.book.members():
            self._ask_if_wanted(node, now, fetch)
        number = self.book.due(self._reachable, now) if self._settled(now) else None
        if number is not None and self.book.own not in self._tasks:
            self._spawn(self.book.own, self._issue(number, fetch))

    def follow(self, directory: Directory) -> None:
        """Takes in a newer directory."""
        if directory.hash != self._directory_hash:
            self._directory_hash = directory.hash
            self.book.on_directory(directory)
            self._forwarder.sync.terms = self.book.id

    def heard(self, node: bytes, now: float, fetch: Fetch) -> None:
        """After an exchange with a peer: asks it for its terms when it says that it holds others."""
        self._ask_if_wanted(node, now, fetch)
        if self.book.held(self.book.generation) is None:
            self._changed()

    def news_for(self, node: bytes) -> bool:
        """Whether a peer should hear of our terms now."""
        sync = self._forwarder.sync
        return (
            bool(sync.terms)
            and sync.replicas[node].terms != sync.terms
            and self._told.get(node) != sync.terms
            and node in self.book.members()
        )

    def told(self, node: bytes, terms: bytes) -> None:
        """A peer has had a Hello of ours that named these terms."""
        self._told[node] = terms

    def answer(self, hello: bytes, wall_ms: int, now: float) -> bytes:
        """What `GET /group/terms` answers. Raises Refused."""
        caller = self._forwarder.sync.caller(hello, wall_ms)
        self.book.proposal = self._sentry.propose()
        return self.book.answer(caller, hello, now)

    async def close(self) -> None:
        """Stops asking."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _ask_if_wanted(self, node: bytes, now: float, fetch: Fetch) -> None:
        if node not in self._tasks and self._wants(node, now) and now >= self._retry_at.get(node, 0.0):
            self._spawn(node, self._ask(node, fetch))

    def _wants(self, node: bytes, now: float) -> bool:
        sync = self._forwarder.sync
        replica = sync.replicas.get(node)
        if replica is None or not replica.terms or replica.terms == sync.terms or node not in self.book.members():
            return False
        asked, at = self._asked.get(node, (b"", 0.0))
        return self.book.trusted and (asked != replica.terms or now >= at + ASK_AGAIN_S)

    def _settled(self, now: float) -> bool:
        """Whether we have heard from every trusted member, or waited long enough, and have fetched what they hold."""
        members = self.book.members()
        if now < self._trusted_since + GIVE_UP_S and any(node in self._tasks or self._wants(node, now) for node in members):
            return False
        return now >= self._trusted_since + SETTLE_SECONDS or all(self._reachable(node) for node in members)

    def _reachable(self, node: bytes) -> bool:
        replica = self._forwarder.sync.replicas.get(node)
        return replica is not None and replica.reachable

    def _spawn(self, node: bytes, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[node] = task
        task.add_done_callback(lambda _: self._tasks.pop(node, None))

    async def _ask(self, node: bytes, fetch: Fetch) -> None:
        """Takes from one peer what is better than ours; a failure is that peer's, and it is asked again later."""
        sync = self._forwarder.sync
        named = sync.replicas[node].terms
        hello = sync.hello_for(node, wall_ms())
        try:
            taken = self.book.on_answer(node, await fetch(node, hello, MAX_ANSWER), hello)
        except (*UNREACHABLE, PlanetServeError) as error:
            reason = error.reason if isinstance(error, Refused) else str(error) or type(error).__name__
            self._retry_at[node] = time.monotonic() + RETRY_S
            asyncio.get_running_loop().call_later(RETRY_S, self._changed)
            log.info("a peer's terms could not be had; asking again", extra={"fields": {"peer": node.hex(), "reason": reason}})
            return
        self._asked[node] = (named, time.monotonic())
        for held in taken:
            self._use(held)

    async def _issue(self, number: int, fetch: Fetch) -> None:
        reachable = [node for node in self.book.members() if self._reachable(node) and node not in self._tasks]
        await asyncio.gather(*(self._ask(node, fetch) for node in reachable))
        if self.book.held(number) is None:
            self.book.proposal = self._sentry.propose()
            self._use(self.book.issue(number))

    def _use(self, held: HeldTerms) -> None:
        terms = held.terms
        self._forwarder.adopt_terms(terms.generation, plan_of(terms, self._plan), held.secret)
        self._forwarder.sync.terms = self.book.id
        fields = {"generation": terms.generation, "issuer": terms.issuer.hex(), "chunks": len(terms.lengths)}
        log.info("the group's terms for a generation", extra={"fields": fields})
        self._changed()
