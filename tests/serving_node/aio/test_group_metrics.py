"""The figures a group exposes."""

from prometheus_client import CollectorRegistry, generate_latest

from network.crypto import SigningKey
from network.directory import empty
from network.ids import node_id
from serving_node.aio.group_metrics import GroupMetrics
from serving_node.forwarder import Forwarder
from serving_node.routing import Decision

KEY = SigningKey(bytes([1] * 32))
OWN = node_id(KEY.public)


def test_every_family_is_scraped() -> None:
    registry = CollectorRegistry()
    metrics = GroupMetrics(Forwarder(OWN, KEY, empty("chain"), "m", "ttft", bytes, 1), registry)
    metrics.decided(Decision(OWN, "ttft", 0, "idle"))
    metrics.decided(Decision(bytes(20), "ttft", 512, "soonest"))
    metrics.served(1000, 600)
    metrics.answered(Decision(bytes(20), "ttft", 512, "soonest"), 500)
    metrics.deltas_made(2)
    metrics.sent("posts", 100)
    metrics.received("acks", 200)
    metrics.failed()
    metrics.refused("signature")
    text = generate_latest(registry).decode()
    for line in (
        'planetserve_group_decisions_total{policy="ttft",where="here"} 1.0',
        'planetserve_group_decisions_total{policy="ttft",where="forwarded"} 1.0',
        "planetserve_group_served_cached_tokens_total 600.0",
        "planetserve_group_forwarded_predicted_tokens_total 512.0",
        'planetserve_group_refused_total{reason="signature"} 1.0',
        'planetserve_group_refused_total{reason="equivocation"} 0.0',
        'planetserve_group_sync_events_total{event="gaps"} 0.0',
        "planetserve_group_bytes_sent_total 100.0",
        "planetserve_group_acks_received_total 1.0",
        "planetserve_group_peers 0.0",
    ):
        assert line in text
