"""Baselines: a central router that everything passes, with rules that other routers use. It knows more than they do.

It sees every queue and every cache at this instant, exactly, evictions included; only `sglang` and `smg` match on what was
sent where, as those routers do. Whoever beats this beats the rule, not its stale view. Ties are broken at random.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evals.forwarding.flight import Choice, Flight, Prompt, Turn
from evals.forwarding.simulator import Simulation
from evals.forwarding.traces import Request, prefix_tokens
from serving_node.load_factor import EngineLoad

MATCH_SHARE, LOAD_GAP, LOAD_RATIO = 0.3, 64, 1.5
VETO_WAITING = 8
DYNAMO_BLOCK = 64


@dataclass(frozen=True, slots=True)
class View:
    """One node as the router sees it: tokens of this prompt in its cache, and sent there before; its queue and batch."""

    node: int
    cached_tokens: int
    sent_tokens: int
    queued_tokens: int
    queued_s: float
    prefill_s: float
    requests: int
    waiting: int
    active_blocks: int


Rule = Callable[[Request, Sequence[View]], Callable[[View], float]]


def least_load(_: Request, views: Sequence[View]) -> Callable[[View], float]:
    """Fewest requests."""
    return lambda view: view.requests


def soonest(_: Request, views: Sequence[View]) -> Callable[[View], float]:
    """Queue seconds and the seconds of what is not cached: the exact twin of our `ttft`."""
    return lambda view: view.queued_s + view.prefill_s


def longest(_: Request, views: Sequence[View]) -> Callable[[View], float]:
    """Most of the prompt in the cache, whatever the load: the exact twin of our `tree`."""
    return lambda view: -view.cached_tokens


def lmetric(request: Request, views: Sequence[View]) -> Callable[[View], float]:
    """LMetric (arXiv 2603.15202): tokens to prefill times batch size."""
    return lambda view: (view.queued_tokens + request.prompt_tokens - view.cached_tokens) * (view.requests + 1)


def sglang(request: Request, views: Sequence[View]) -> Callable[[View], float]:
    """sglang-router's cache_aware with its defaults: longest prefix from 0.3 of the prompt on, unless loads are far apart."""
    loads = [view.requests for view in views]
    apart = max(loads) - min(loads) > LOAD_GAP and max(loads) > LOAD_RATIO * min(loads)
    if apart or max(view.sent_tokens for view in views) <= MATCH_SHARE * request.prompt_tokens:
        return least_load(request, views)
    return lambda view: -view.sent_tokens


def smg(request: Request, views: Sequence[View]) -> Callable[[View], float]:
    """smg's cache_aware: as above, but an overloaded node alone is passed over, not the whole match."""
    mean = sum(view.requests for view in views) / len(views)
    fit = [
        view
        for view in views
        if view.sent_tokens > MATCH_SHARE * request.prompt_tokens
        and not (view.requests > LOAD_RATIO * mean and view.requests > mean + LOAD_GAP)
        and view.waiting < VETO_WAITING
    ]
    if not fit:
        return least_load(request, views)
    return lambda view: -view.sent_tokens if view in fit else 1.0


def rotation(request: Request, views: Sequence[View]) -> Callable[[View], float]:
    """Each node in turn, in order of arrival."""
    return lambda view: (view.node - request.number) % len(views)


def dynamo(request: Request, views: Sequence[View]) -> Callable[[View], float]:
    """Dynamo's kv_router with its defaults: blocks to prefill, those waiting included, plus blocks of running requests."""
    fresh = request.prompt_tokens
    whole = fresh // DYNAMO_BLOCK
    return lambda view: (view.queued_tokens + fresh - view.cached_tokens) / DYNAMO_BLOCK + view.active_blocks + whole


RULES: dict[str, Rule] = {
    "central-ttft": soonest,
    "central-tree": longest,
    "central-rotation": rotation,
    "least-load": least_load,
    "lmetric": lmetric,
    "sglang": sglang,
    "smg": smg,
    "dynamo": dynamo,
}


class Central:
    """A `Mind`: one router before all nodes. Every prompt pays the way to its node, as nobody's entry is the node itself."""

    def __init__(self, simulation: Simulation, rule: str) -> None:
        self._nodes = simulation.nodes
        self._rule = RULES[rule]
        self._draw = random.Random(f"central/{simulation.fleet.seed}")
        self._sent: list[set[int]] = [set() for _ in simulation.nodes]
        self._active: list[dict[int, Request]] = [{} for _ in simulation.nodes]
        # Sent, and not in the engine yet: on the way, or waiting for a slot.
        self._coming: list[dict[int, Request]] = [{} for _ in simulation.nodes]

    def decide(self, entry: int, prompt: Prompt, now: float) -> Choice:
        """Best first by the rule, over the nodes that are there."""
        request = prompt.request
        views = [self._view(number, request, now) for number, node in enumerate(self._nodes) if node.alive]
        score = self._rule(request, views)
        ranked = sorted(views, key=lambda view: (score(view), self._draw.random()))
        best = ranked[0]
        self._sent[best.node].update(request.blocks)
        self._active[best.node][request.number] = request
        self._coming[best.node][request.number] = request
        order = [view.node for view in ranked]
        return Choice(best.node, best.cached_tokens, best.cached_tokens, order, outside=True)

    def admitted(self, node: int, prompt: Prompt, now: float) -> None:
        """From here on the engine's own queue shows it."""
        self._coming[node].pop(prompt.request.number, None)

    def served(self, node: int, flight: Flight, now: float) -> None:
        """One request less."""
        self._active[node].pop(flight.prompt.request.number, None)

    def answered(self, turn: Turn, asked: int, flight: Flight, ttft_s: float, now: float) -> None:
        """Nothing to learn."""

    def failed(self, node: int, flight: Flight, full: bool, now: float) -> None:
        """The request is not there."""
        for where in (self._active, self._coming):
            where[node].pop(flight.prompt.request.number, None)

    def next_best(self, flight: Flight, now: float) -> int | None:
        """The next in the order of the decision."""
        for node in flight.choice.note:
            if node not in flight.tried:
                self._active[node][flight.prompt.request.number] = flight.prompt.request
                self._coming[node][flight.prompt.request.number] = flight.prompt.request
                return int(node)
        return None

    def loaded(self, node: int, load: EngineLoad, now: float) -> None:
        """Nothing to learn."""

    def tell(self, node: int, now: float) -> None:
        """Nobody to tell."""

    def restarted(self, node: int, now: float) -> None:
        """What was sent there is gone."""
        self._sent[node].clear()
        self._active[node].clear()
        self._coming[node].clear()

    def _view(self, number: int, request: Request, now: float) -> View:
        node = self._nodes[number]
        cached = node.engine.cached(request)
        queued_tokens, queued_s = node.engine.queued(now)
        for coming in self._coming[number].values():
            uncached = coming.prompt_tokens - node.engine.cached(coming)
            queued_tokens += uncached
            queued_s += node.engine.speed.prefill(uncached)
        active = self._active[number].values()
        blocks = {block for each in active for block in each.blocks}
        return View(
            node=number,
            cached_tokens=cached,
            sent_tokens=prefix_tokens(request, self._sent[number].__contains__),
            queued_tokens=queued_tokens,
            queued_s=queued_s,
            prefill_s=node.engine.speed.prefill(request.prompt_tokens - cached),
            requests=len(active),
            waiting=node.admission.waiting,
            active_blocks=len(blocks) * 512 // DYNAMO_BLOCK,
        )
