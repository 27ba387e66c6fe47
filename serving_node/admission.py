"""Who is being answered, who waits, and who is refused: the queue before one engine's slots.

First come, first served. A request is refused when the queue is full, or when it could not begin before its deadline; the
refusal says when to come back. The same book gives the load figures that peers route by: prompt tokens not yet prefilled
are counted from what the engine reports of each prompt, never guessed. Told the time, owns no clock.
"""

import math
from dataclasses import dataclass

from serving_node.failure import OVERLOADED, ServeError
from serving_node.generation import EngineSample
from serving_node.load_factor import EngineLoad, Ewma

WAITING_PER_SLOT = 8
# The shortest advice to come back that is worth giving.
LEAST_RETRY_S = 1


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's place: in the queue, then in a slot. `expected_tokens` of its prompt are believed to be cached."""

    prompt_tokens: int
    admitted_at: float
    started_at: float | None = None
    first_text_at: float | None = None
    processed_tokens: int = 0
    cached_tokens: int = 0
    expected_tokens: int = 0

    @property
    def unprocessed_tokens(self) -> int:
        """Prompt tokens that the engine has still to compute, as far as is known."""
        return 0 if self.first_text_at is not None else self.prompt_tokens - max(self.processed_tokens, self.expected_tokens)


class Admission:
    """The book of one engine. Call `admit`, later `leave`; tickets that `start_next` returns may use a slot."""

    __slots__ = ("_capacity", "_latency", "_running", "_slots", "_waiting", "draining")

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._running: list[Ticket] = []
        self._waiting: list[Ticket] = []
        self._latency = Ewma()
        self._capacity = Ewma()
        self.draining = False

    @property
    def running(self) -> int:
        """Requests in a slot."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    def admit(self, prompt_tokens: int, now: float, deadline: float, expected_tokens: int = 0) -> Ticket:
        """A place in the queue. Raises ServeError(overloaded). Tokens that are expected to be cached make no queue."""
        if self.draining:
            raise ServeError(OVERLOADED, "this node is shutting down; ask again, another will answer", LEAST_RETRY_S)
        wait = self.expected_wait(now)
        full = len(self._waiting) >= WAITING_PER_SLOT * self._slots
        if full or now + wait > deadline:
            after = max(LEAST_RETRY_S, math.ceil(wait))
            raise ServeError(OVERLOADED, f"{self.waiting} requests wait already; try again in {after} s", after)
        ticket = Ticket(prompt_tokens, now, expected_tokens=min(expected_tokens, prompt_tokens))
        self._waiting.append(ticket)
        return ticket

    def start_next(self, now: float) -> list[Ticket]:
        """Move waiting tickets into free slots, oldest first; returns those that may start."""
        started = self._waiting[: max(0, self._slots - len(self._running))]
        for ticket in started:
            self._waiting.remove(ticket)
            self._running.append(ticket)
            ticket.started_at = now
        return started

    def prefilled(self, ticket: Ticket, processed: int, cached: int) -> None:
        """The engine has read `processed` tokens of the prompt, `cached` of them from its cache."""
        ticket.processed_tokens = max(ticket.processed_tokens, processed)
        ticket.cached_tokens, ticket.expected_tokens = cached, 0

    def first_text(self, ticket: Ticket, now: float) -> None:
        """The first token came: the whole prompt is read, and its speed is known."""
        if ticket.first_text_at is None and ticket.started_at is not None:
            ticket.first_text_at = now
            computed = ticket.prompt_tokens - ticket.cached_tokens
            if computed > 1 and now > ticket.started_at:
                self._capacity.add(computed / (now - ticket.started_at))

    def leave(self, ticket: Ticket, now: float, *, answered: bool) -> None:
        """The request is over, answered or not."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        elif ticket in self._running:
            self._running.remove(ticket)
            if answered and ticket.started_at is not None:
                self._latency.add(now - ticket.started_at)

    def expected_wait(self, now: float) -> float:
        """Seconds until a slot is free for one more request; 0 while one is, or while nothing is known."""
        ahead = len(self._running) + len(self._waiting) - self._slots + 1
        if ahead <= 0 or self._latency.value is None:
            return 0.0
        longest = max((now - (ticket.started_at or now) for ticket in self._running), default=0.0)
        return max(0.0, ahead * self._latency.value / self._slots - min(longest, self._latency.value))

    def load(self, sample: EngineSample, cache_tokens: int) -> EngineLoad:
        """What peers are told. An engine that others use too (a shared URL) shows in its own figures."""
        queued = sum(ticket.unprocessed_tokens for ticket in (*self._running, *self._waiting))
        return EngineLoad(
            running=max(len(self._running), sample.running),
            waiting=max(len(self._waiting), sample.waiting),
            queued_tokens=queued,
            capacity_tokens_per_s=sample.prefill_tokens_per_s or self._capacity.value or 0.0,
            slots=self._slots,
            cache_tokens=cache_tokens,
            draining=self.draining,
        )
