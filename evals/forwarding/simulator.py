"""A fleet of model nodes and its entry points on a virtual clock: who answered which prompt, how soon, and from which cache.

Knows arrivals, ways between nodes, admission (the product's own book), engines and failures. Where a prompt goes is the
`Mind`'s to say: real forwarders (`members.py`) or an all-knowing router (`central.py`). Seeded; two runs are equal.
"""

import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from evals.forwarding.engines import Engine, Job
from evals.forwarding.flight import NEVER, Choice, Fleet, Flight, Mind, Outcome, Prompt, Turn
from evals.forwarding.traces import Request, Trace
from serving_node.admission import Admission, Ticket
from serving_node.failure import ServeError
from serving_node.forwarding import MAX_HOPS
from serving_node.generation import EngineSample
from serving_node.load_factor import EngineLoad


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
            self._refused(Flight(Prompt(self.trace, request), 0, [Turn(0, Choice(0), now)]), now)
            return
        prompt, entry = Prompt(self.trace, request), self._draw.choice(alive)
        choice = self.mind.decide(entry, prompt, now)
        self._send(Flight(prompt, entry, [Turn(entry, choice, now)]), choice.node, now)

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
        if _travels(flight, target) and not flight.choice.outside and len(flight.turns) < MAX_HOPS:
            self._decide_again(flight, target, now)
            return
        self._admit(flight, target, now)

    def _decide_again(self, flight: Flight, target: int, now: float) -> None:
        """Whoever is asked knows its own queue and cache, and may pass the prompt on, but not back."""
        sender = flight.turn.decider
        flight.turns.append(Turn(target, self.mind.decide(target, flight.prompt, now), now, [sender]))
        node = flight.choice.node if flight.choice.node != sender else self.mind.next_best(flight, now)
        if node is None:
            self._elsewhere(flight, target, True, now)
        else:
            self._send(flight, node, now)

    def _admit(self, flight: Flight, target: int, now: float) -> None:
        node = self.nodes[target]
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
        if target is not None:
            self._send(flight, target, now)
        elif len(flight.turns) > 1:
            self._elsewhere(flight, flight.turns.pop().decider, True, now)
        else:
            self._refused(flight, now)

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
        request, choice = job.request, flight.choice
        back = 0.0
        for turn in reversed(flight.turns):
            if choice.outside or turn.decider != turn.tried[-1]:
                back += self.fleet.rtt_s / 2
                self.mind.answered(turn, turn.tried[-1], flight, flight.first_at + back - turn.at, now + back)
        ttft = flight.first_at + back - request.at
        held, expected = (choice.held_tokens, choice.expected_tokens) if number == choice.node else (0, 0)
        cached, ever = job.cached_tokens, job.ever_held_tokens
        total = now + back - request.at
        tries = max(len(turn.tried) - (turn is not flight.turns[0]) for turn in flight.turns)
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
        if flight.entry == number and not flight.choice.outside:
            self._enter(flight.prompt.request, now)
            return
        if flight.turn.decider == number and len(flight.turns) > 1:
            flight.turns.pop()
        self._elsewhere(flight, number, False, now)

    def _return(self, number: int, now: float) -> None:
        self.nodes[number].alive = True
        self.mind.restarted(number, now)


def _travels(flight: Flight, target: int) -> bool:
    return flight.choice.outside or target != flight.turn.decider
