"""Prometheus figures of routing: how far predictions were off, what failed, and which breakers are open."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving_node.breaker import Fault, State
from serving_node.forwarder import Forwarder
from serving_node.routing import Decision

PREFIX = "planetserve_route_"
_SECONDS = (-10.0, -2.5, -1.0, -0.5, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)
_WHERE = ("here", "forwarded")
_TOKENS = (-16384.0, -4096.0, -1024.0, -256.0, -64.0, -1.0, 0.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0)


class RouteMetrics:
    """Fed by `mind.py` with what came of each decision. Errors are real less predicted: late and lucky are positive."""

    def __init__(self, forwarder: Forwarder, registry: CollectorRegistry) -> None:
        labels = ["where"]
        self._own = forwarder.own
        ttft = Histogram(
            f"{PREFIX}ttft_error_seconds",
            "Real less predicted time to first token",
            labels,
            buckets=_SECONDS,
            registry=registry,
        )
        cached = Histogram(
            f"{PREFIX}cached_tokens_error", "Real less predicted cached tokens", labels, buckets=_TOKENS, registry=registry
        )
        self._ttft = {where: ttft.labels(where) for where in _WHERE}
        self._cached = {where: cached.labels(where) for where in _WHERE}
        self._failures = Counter(f"{PREFIX}failures", "Nodes that did not answer, by reason", ["reason"], registry=registry)
        open_ = Gauge(f"{PREFIX}breakers_open", "Peers that get nothing after failures in a row", registry=registry)
        open_.set_function(lambda: forwarder.beliefs.breakers(State.OPEN, time.monotonic()))
        absurd = Gauge(f"{PREFIX}absurd_samples", "Engine figures that no machine can have, refused", registry=registry)
        absurd.set_function(lambda: forwarder.beliefs.absurd_samples)
        for fault in Fault:
            self._failures.labels(fault.value)

    def ended(self, decision: Decision, node: bytes, cached_tokens: int, ttft_s: float) -> None:
        """A node has answered what was decided."""
        seen = decision.candidate(node)
        if seen is None:
            return
        where = "here" if node == self._own else "forwarded"
        if ttft_s > 0:  # an answer that does not stream does not show when its first token came
            self._ttft[where].observe(ttft_s - seen.predicted_ttft_s)
        self._cached[where].observe(cached_tokens - seen.expected_tokens)

    def failed(self, fault: Fault) -> None:
        """A node has not answered."""
        self._failures.labels(fault.value).inc()
