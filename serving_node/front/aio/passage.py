"""One request on its way: the places to try in their order, the one that answers, and what was measured on the way.

Until the first byte of an answer's body another place can take over; from then on the bytes pass untouched, and a stream that
breaks ends as an error. The caller's leaving ends it everywhere.
"""

import asyncio
import logging
from typing import Protocol

from serving_node.breaker import Fault
from serving_node.front.aio.client import Client
from serving_node.front.aio.upstream import Place, Upstream
from serving_node.front.door import Visit
from serving_node.front.errors import broken_event
from serving_node.front.http1 import CHUNKED, UNTIL_CLOSE, HttpError, RequestHead, ResponseHead, onward_response
from serving_node.front.usage import Tail
from serving_node.routing import Decision

log = logging.getLogger(__name__)

# An engine that fails may fail because of the prompt: this many may try it.
MOST_ANSWERS = 2
_ELSEWHERE = (429, 500, 502, 503, 504)


class Keeper(Protocol):
    """The front, as a passage needs it."""

    name: str
    draining: bool

    def next_place(self, passage: "Passage") -> Place | None:
        """The best place that was not tried; None when none is left."""

    def open_to(self, passage: "Passage", place: Place) -> str:
        """Why a place cannot be asked now; empty when it can."""

    def asked(self, passage: "Passage", place: Place) -> bytes:
        """A place is about to be asked: the request's head for it."""

    def failed(self, passage: "Passage", place: Place, fault: Fault, reason: str) -> None:
        """A place has not answered before its first byte."""

    def spoke(self, passage: "Passage", place: Place) -> None:
        """The first byte of an answer's body came."""

    def over(self, passage: "Passage", outcome: str) -> None:
        """The request has ended, however."""

    def keep(self, task: "asyncio.Task[None]") -> None:
        """Hold a task until it is done."""


class Passage:
    """A request from its arrival to the last byte of its answer."""

    __slots__ = (
        "_answers", "_keeper", "_reason", "_response", "_started", "_upstream", "body", "client", "decision", "expected",
        "head", "no_share", "over", "packed", "place", "places", "salt", "since", "spoke_at", "stream", "tail", "tried",
        "visit",
    )  # fmt: skip

    def __init__(
        self, keeper: Keeper, client: Client, head: RequestHead, body: bytes, places: list[Place], since: float
    ) -> None:
        self._keeper = keeper
        self.client = client
        self.head = head
        self.body = body
        self.places = places
        self.since = since
        self.packed = b""
        self.salt = b""
        self.stream = False
        self.no_share = False
        self.decision: Decision | None = None
        self.expected = 0  # words that a fellow front expects our engine to have cached
        self.place: Place | None = None
        self.visit: Visit | None = None
        self.spoke_at = 0.0
        self.tail = Tail()
        self.over = False
        self.tried: set[bytes] = set()
        self._upstream: Upstream | None = None
        self._response: ResponseHead | None = None
        self._started = False
        self._answers = 0
        self._reason = HttpError(503, "no_place", "no engine can take this request now; ask again")

    def go(self) -> None:
        """Ask the next place that is open; with none left, say why."""
        while (place := self._keeper.next_place(self)) is not None:
            self.place = place
            self.tried.add(place.node_id)
            closed = self._keeper.open_to(self, place)
            if closed:
                self._reason = HttpError(503, "overloaded", closed)
                continue
            upstream = place.take()
            if upstream is not None:
                self._ask(place, upstream)
            else:
                self._keeper.keep(asyncio.get_running_loop().create_task(self._connect(place)))
            return
        self._end(self._reason.code)
        self.client.fail(self._reason, close=self.head.close or self._keeper.draining)

    @property
    def more(self) -> bool:
        """Whether another place could be tried."""
        if self.decision is None:
            return bool(self.places)
        return any(candidate.node_id not in self.tried for candidate in self.decision.candidates)

    @property
    def status(self) -> int:
        """The answer's status; 0 before there is one."""
        return self._response.status if self._response else 0

    def expected_at(self, node: bytes) -> int:
        """How many words of the prompt we expect a node to have cached."""
        if self.decision is None:
            return self.expected
        return next((c.held_tokens for c in self.decision.candidates if c.node_id == node), 0)

    def cancel(self) -> None:
        """The caller has left."""
        if not self.over:
            self._drop()
            self._end("cancelled")

    def expire(self) -> None:
        """It has taken longer than a request may."""
        self._drop()
        if self._started:
            self._break("timeout")
        else:
            self._end("timeout")
            self.client.fail(HttpError(504, "timeout", "no answer within the time that this front allows"))

    def pause(self) -> None:
        """The caller does not keep up."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        """It does again."""
        if self._upstream is not None:
            self._upstream.resume()

    def on_head(self, upstream: Upstream, head: ResponseHead) -> None:
        """An answer begins; an engine's failure is not one while another place is left."""
        if head.status in _ELSEWHERE and self.more and self._answers + 1 < MOST_ANSWERS:
            full = head.status in (429, 503)
            self._answers += not full
            upstream.abort()
            self._failed(Fault.FULL if full else Fault.BROKEN, f"it answered {head.status}")
            return
        self._response = head
        if head.length == 0:
            self._begin(b"")

    def on_body(self, data: bytes) -> None:
        """Bytes of the answer."""
        self.tail.add(data)
        if self._started:
            self.client.write(data)
        else:
            self._begin(data)

    def on_end(self) -> None:
        """The answer is whole."""
        response = self._response
        if response is None or self.over:
            return
        if not self._started:
            self._begin(b"")
        self._upstream = None
        self._end("answered")
        self.client.done(close=self._closes(response))

    def on_lost(self, reason: str) -> None:
        """The place broke off."""
        upstream, self._upstream = self._upstream, None
        if self._started:
            self._break(reason, boundary=upstream is not None and upstream.at_boundary)
        elif upstream is not None and upstream.reused and not upstream.answered and self.place is not None:
            # Kept connections may be closed by the other side as we write: no fault of the place.
            upstream.reused = False
            self._keeper.keep(asyncio.get_running_loop().create_task(self._connect(self.place)))
        else:
            self._failed(Fault.BROKEN, reason)

    def _ask(self, place: Place, upstream: Upstream) -> None:
        self._upstream = upstream
        upstream.ask(self, self.head.method, self._keeper.asked(self, place), self.body)

    async def _connect(self, place: Place) -> None:
        try:
            upstream = await place.connect()
        except (OSError, TimeoutError) as error:
            if not self.over:
                self._failed(Fault.UNREACHABLE, f"cannot be reached ({type(error).__name__})")
            return
        if self.over:
            upstream.abort()
        else:
            self._ask(place, upstream)

    def _failed(self, fault: Fault, reason: str) -> None:
        place = self.place
        assert place is not None
        self._upstream = None
        self._keeper.failed(self, place, fault, reason)
        if fault is Fault.FULL:
            self._reason = HttpError(503, "overloaded", "every engine is busy; ask again")
        else:
            self._reason = HttpError(502, "engine_failed", "the engine did not answer; ask again")
        self.go()

    def _begin(self, data: bytes) -> None:
        response, place = self._response, self.place
        assert response is not None and place is not None
        self._started = True
        self._keeper.spoke(self, place)
        own = self._keeper.name
        route = own if place.own else f"{own},{place.name}"
        extra = f"x-planetserve-node: {place.name}\r\nx-planetserve-route: {route}\r\n".encode()
        self.client.write(onward_response(response, (extra,), close=self._closes(response)) + data)

    def _closes(self, response: ResponseHead) -> bool:
        return self.head.close or self._keeper.draining or response.length == UNTIL_CLOSE

    def _break(self, reason: str, *, boundary: bool = False) -> None:
        """After the first byte: an event stream ends with an error event, anything else with a cut connection."""
        response = self._response
        assert response is not None
        place = self.place.name if self.place else ""
        log.warning("an answer broke off; its caller was told", extra={"fields": {"place": place, "reason": reason}})
        self._end("broken")
        events = response.fields.get(b"content-type", b"").startswith(b"text/event-stream")
        if events and boundary and response.length == CHUNKED:
            self.client.write(broken_event())
            self.client.done(close=True)
        else:
            self.client.abort()

    def _drop(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()

    def _end(self, outcome: str) -> None:
        self.over = True
        self._keeper.over(self, outcome)
