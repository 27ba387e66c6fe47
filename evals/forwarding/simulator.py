"""A fleet of model nodes and its entry points on a virtual clock: who answered which prompt, how soon, and from which cache.

Knows arrivals, ways between nodes, admission (the product's own book), engines and failures. Where a prompt goes is the
`Mind`'s to say: real forwarders (`members.py`) or an all-knowing router (`central.py`). Seeded; two runs are equal.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol

from evals.forwarding.engines import Engine, Job, Speed
from evals.forwarding.traces import Request, Trace
from serving_node.admission import Admission, Ticket
from serving_node.failure import ServeError
from serving_node.generation import EngineSample
from serving_node.load_factor import EngineLoad

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is simulated. Seconds; `sync_s` is how often a node tells its peers, NEVER for not at all.

    `forward_s` is what passing a prompt on costs beside the round trip. `fail_every_s` is the mean time between two failures
    in the whole fleet, `away_s` how long a node that failed stays away; it comes back with an empty cache.
    """

    nodes: int = 8
    entries: int = 8
    sync_s: float = 5.0
    load_s: float = 1.0
    rtt_s: float = 0.02
    forward_s: float = 0.02
    cache_blocks: int = 2048
    slots: int = 64
    speed: Speed = field(default_factory=Speed)
    fail_every_s: float = NEVER
    away_s: float = 60.0
    seed: int = 1


class Prompt:
    """A request of the trace on its way, its tokens made when somebody looks at them."""

    def __init__(self, trace: Trace, request: Request) -> None:
        self.request = request
        self._trace = trace

    @cached_property
    def tokens(self) -> Sequence[int]:
        """The prompt as token ids."""
        return self._trace.tokens(self.request)


@dataclass(frozen=True, slots=True)
class Choice:
    """The node to ask, and how many cached tokens it is thought to have; the mind's own note.

    `outside`: the deciding router is no node, so that every prompt pays the way.
    """

    node: int
    held_tokens: int = 0
    expected_tokens: int = 0
    note: Any = None
    outside: bool = False


class Mind(Protocol):
    """Decides where prompts go, and is told what comes of it. Nodes are numbers."""

    def decide(self, entry: int, prompt: Prompt, now: float) -> Choice:
        """Where a prompt that entered at `entry` goes."""

    def admitted(self, node: int, prompt: Prompt, now: float) -> None:
        """A node's engine takes a prompt."""

    def served(self, node: int, flight: "Flight", now: float) -> None:
        """A node's engine has answered."""

    def answered(self, node: int, flight: "Flight", ttft_s: float, now: float) -> None:
        """Another node than the entry has answered."""

    def failed(self, node: int, flight: "Flight", full: bool, now: float) -> None:
        """A node was full, or it could not be reached or broke off."""

    def next_best(self, flight: "Flight", now: float) -> int | None:
        """The next node to ask when those in `flight.tried` have not answered."""

    def loaded(self, node: int, load: EngineLoad, now: float) -> None:
        """A sample of a node's load."""

    def tell(self, node: int, now: float) -> None:
        """A node's time to speak to its peers."""

    def restarted(self, node: int, now: float) -> None:
        """A node is back after a failure and knows nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one prompt. A refused one has no node."""

    request: Request
    entry: int
    node: int | None
    ttft_s: float
    total_s: float
    cached_tokens: int
    ever_held_tokens: int
    held_tokens: int
    expected_tokens: int
    tries: int


@dataclass(eq=False, slots=True)
class Flight:
    """A prompt between its entry and its answer."""

    prompt: Prompt
    entry: int
    choice: Choice
    tried: list[int] = field(default_factory=list)
    ticket: Ticket | None = None
    job: Job | None = None
    first_at: float = 0.0


class Node:
    """One model node: the product's admission book before a simulated engine."""

    def __init__(self, fleet: Fleet) -> None:
        self.admission = Admission(fleet.slots)
        self.engine = Engine(fleet.speed, fleet.cache_blocks)
        self.waiting: dict[Ticket, Flight] = {}
        self.running: dict[Job, Flight] = {}
        self.alive = True
        self.version = 0
        self.load_due = False

    def load(self, cache_tokens: int) -> EngineLoad:
        """What the sidecar would report: its own book, and the prefill speed an engine's metrics give."""
        engine = self.engine
        rate = engine.prefilled_tokens / engine.prefill_busy_s if engine.prefill_busy_s else 0.0
        return self.admission.load(EngineSample(prefill_tokens_per_s=rate), cache_tokens)


class Simulation:
    """Runs one trace through one fleet. `run` may be called once."""

    def __init__(self, trace: Trace, fleet: Fleet, mind_of: Callable[["Simulation"], Mind]) -> None:
        self.trace = trace
        self.fleet = fleet
        self.nodes = [Node(fleet) for _ in range(fleet.nodes)]
        self.outcomes: list[Outcome] = []
        self._draw = random.Random(f"fleet/{fleet.seed}")
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()
        self._open = len(trace.requests)
        self.mind = mind_of(self)

    def run(self) -> list[Outcome]:
        """Every outcome, in the order in which prompts ended."""
        for request in self.trace.requests:
            self._at(request.at, lambda now, request=request: self._enter(request, now))  # type: ignore[misc]
        if self.fleet.sync_s < NEVER:
            for node in range(self.fleet.nodes):
                self._tell(node, self.fleet.sync_s * (node + 1) / self.fleet.nodes)
        self._next_failure(0.0)
        while self._open:
            now, _, event = heappop(self._events)
            event(now)
        return self.outcomes

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        heappush(self._events, (when, next(self._numbers), event))

    def _enter(self, request: Request, now: float) -> None:
        alive = [node for node in range(self.fleet.entries) if self.nodes[node].alive]
        if not alive:
            self._refused(Flight(Prompt(self.trace, request), 0, Choice(0)), now)
            return
        prompt, entry = Prompt(self.trace, request), self._draw.choice(alive)
        choice = self.mind.decide(entry, prompt, now)
        self._send(Flight(prompt, entry, choice), choice.node, now)

    def _send(self, flight: Flight, target: int, now: float) -> None:
        """On to a node; one that is not there is found out by trying."""
        flight.tried.append(target)
        way = self.fleet.forward_s + self.fleet.rtt_s / 2 if _travels(flight, target) else 0.0
        self._at(now + way, lambda then: self._reach(flight, target, then))

    def _reach(self, flight: Flight, target: int, now: float) -> None:
        node = self.nodes[target]
        if not node.alive:
            self._elsewhere(flight, target, False, now)
            return
        try:
            expected = flight.choice.expected_tokens if target == flight.choice.node else 0
            flight.ticket = node.admission.admit(flight.prompt.request.prompt_tokens, now, NEVER, expected)
        except ServeError:
            self._elsewhere(flight, target, True, now)
            return
        node.waiting[flight.ticket] = flight
        self._start(target, now)

    def _elsewhere(self, flight: Flight, failed: int, full: bool, now: float) -> None:
        self.mind.failed(failed, flight, full, now)
        flight.ticket = flight.job = None
        target = self.mind.next_best(flight, now)
        if target is None:
            self._refused(flight, now)
            return
        self._send(flight, target, now)

    def _refused(self, flight: Flight, now: float) -> None:
        request = flight.prompt.request
        self.outcomes.append(Outcome(request, flight.entry, None, 0.0, now - request.at, 0, 0, 0, 0, len(flight.tried)))
        self._open -= 1

    def _start(self, number: int, now: float) -> None:
        """Whoever has a slot goes into the engine; then the engine says when it has news."""
        node = self.nodes[number]
        for ticket in node.admission.start_next(now):
            flight = node.waiting.pop(ticket)
            flight.ticket = ticket
            self.mind.admitted(number, flight.prompt, now)
            flight.job = node.engine.add(flight.prompt.request, now)
            node.running[flight.job] = flight
        self._expect(number)
        self._sample(number, now)

    def _expect(self, number: int) -> None:
        node = self.nodes[number]
        node.version += 1
        version, when = node.version, node.engine.next_at()
        if when is not None:
            self._at(when, lambda now: self._advance(number, version, now))

    def _advance(self, number: int, version: int, now: float) -> None:
        node = self.nodes[number]
        if version != node.version:
            return
        first, ended = node.engine.advance(now)
        for job in first:
            flight = node.running[job]
            assert flight.ticket is not None
            node.admission.prefilled(flight.ticket, job.request.prompt_tokens, job.cached_tokens)
            node.admission.first_text(flight.ticket, job.first_at)
            flight.first_at = job.first_at
        for job in ended:
            self._end(number, node.running.pop(job), job, now)
        self._start(number, now)

    def _end(self, number: int, flight: Flight, job: Job, now: float) -> None:
        ticket = flight.ticket
        assert ticket is not None
        self.nodes[number].admission.leave(ticket, now, answered=True)
        self.mind.served(number, flight, now)
        travelled = _travels(flight, number)
        back = self.fleet.rtt_s / 2 if travelled else 0.0
        request, choice = job.request, flight.choice
        ttft = flight.first_at + back - request.at
        if travelled:
            self.mind.answered(number, flight, ttft, now + back)
        held, expected = (choice.held_tokens, choice.expected_tokens) if number == choice.node else (0, 0)
        cached, ever = job.cached_tokens, job.ever_held_tokens
        total = now + back - request.at
        tries = len(flight.tried)
        self.outcomes.append(Outcome(request, flight.entry, number, ttft, total, cached, ever, held, expected, tries))
        self._open -= 1

    def _sample(self, number: int, now: float) -> None:
        """At once, and then not again within `load_s`, as the sidecar does."""
        node = self.nodes[number]
        if node.load_due:
            return
        node.load_due = True
        self._load(number)(now)
        self._at(now + self.fleet.load_s, self._sampled(number))

    def _sampled(self, number: int) -> Callable[[float], None]:
        def again(now: float) -> None:
            node = self.nodes[number]
            node.load_due = False
            if node.alive and node.admission.running:
                self._sample(number, now)
            elif node.alive:
                self._load(number)(now)

        return again

    def _load(self, number: int) -> Callable[[float], None]:
        cache = self.fleet.cache_blocks * 512
        return lambda now: self.mind.loaded(number, self.nodes[number].load(cache), now)

    def _tell(self, number: int, when: float) -> None:
        def tell(now: float) -> None:
            if self.nodes[number].alive:
                self.mind.tell(number, now)
            self._tell(number, now + self.fleet.sync_s)

        self._at(when, tell)

    def _next_failure(self, now: float) -> None:
        if self.fleet.fail_every_s < NEVER:
            self._at(now + self._draw.expovariate(1 / self.fleet.fail_every_s), self._fail)

    def _fail(self, now: float) -> None:
        alive = [number for number, node in enumerate(self.nodes) if node.alive]
        if len(alive) > 1:
            number = self._draw.choice(alive)
            old = self.nodes[number]
            self.nodes[number] = gone = Node(self.fleet)
            gone.alive = False
            gone.version = old.version + 1
            self._at(now + self.fleet.away_s, lambda then: self._return(number, then))
            for flight in (*old.waiting.values(), *old.running.values()):
                self._lost(flight, number, now)
        self._next_failure(now)

    def _lost(self, flight: Flight, number: int, now: float) -> None:
        """An entry that dies takes its prompts along: their users ask again at another. Else the entry tries the next node."""
        if flight.entry != number or flight.choice.outside:
            self._elsewhere(flight, number, False, now)
            return
        self._enter(flight.prompt.request, now)

    def _return(self, number: int, now: float) -> None:
        self.nodes[number].alive = True
        self.mind.restarted(number, now)


def _travels(flight: Flight, target: int) -> bool:
    return flight.choice.outside or target != flight.entry
