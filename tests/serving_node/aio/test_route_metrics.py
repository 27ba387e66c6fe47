"""How far predictions were off, as Prometheus sees it."""

from prometheus_client import CollectorRegistry

from network.crypto import SigningKey
from network.directory import empty
from network.ids import node_id
from serving_node.aio.route_metrics import RouteMetrics
from serving_node.breaker import FAILURES, Fault
from serving_node.forwarder import Forwarder
from serving_node.routing import Candidate, Decision

KEY = SigningKey(bytes([7] * 32))
OWN, PEER = node_id(KEY.public), b"\x02" * 20
ROWS = (
    Candidate(OWN, True, 1, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.01, 1.0, 1.0, 2.0),
    Candidate(PEER, False, 1, 400, 400, 0.0, 0.0, 0.0, 0.001, 0.01, 1.0, 1.0, 0.5),
)


def test_errors_are_real_less_predicted_of_whoever_answered() -> None:
    registry = CollectorRegistry()
    forwarder = Forwarder(OWN, KEY, empty("chain"), "m", "ttft", bytes, 1)
    metrics = RouteMetrics(forwarder, registry)
    decision = Decision(PEER, "ttft", 400, "soonest first token", ROWS, 0.5, 3, 0.0, 1000)
    metrics.ended(decision, PEER, 336, 0.75)
    metrics.ended(decision, OWN, 0, 1.5)
    metrics.ended(decision, b"\x09" * 20, 0, 1.0)
    metrics.failed(Fault.FULL)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"planetserve_route_{name}", labels)

    late, early = {"where": "forwarded", "le": "0.2"}, {"where": "here", "le": "-0.5"}
    assert (value("ttft_error_seconds_bucket", **late), value("ttft_error_seconds_bucket", **early)) == (0, 1)
    assert value("ttft_error_seconds_bucket", where="forwarded", le="0.5") == 1
    assert value("cached_tokens_error_bucket", where="forwarded", le="-64.0") == 1
    assert value("cached_tokens_error_bucket", where="forwarded", le="-256.0") == 0
    assert value("cached_tokens_error_count", where="here") == 1
    assert (value("failures_total", reason="full"), value("failures_total", reason="broken")) == (1, 0)
    assert (value("breakers_open"), value("absurd_samples")) == (0, 0)
    for _ in range(FAILURES):
        forwarder.beliefs.breaker(PEER).failed(Fault.BROKEN, 1e12)
    forwarder.beliefs.absurd_samples = 2
    assert (value("breakers_open"), value("absurd_samples")) == (1, 2)
