"""What Prometheus reads of a relay."""

from collections import Counter

from prometheus_client import CollectorRegistry, generate_latest

from relay.aio.metrics import RelayMetrics


def test_counters_and_gauges_are_read_live() -> None:
    counts = Counter({"cells": 3, "dropped_altered": 2})
    registry = CollectorRegistry()
    registry.register(RelayMetrics(counts, lambda: 4, lambda: 5, lambda: 6))
    text = generate_latest(registry).decode()
    assert "planetserve_relay_cells_total 3.0" in text
    assert 'planetserve_relay_dropped_total{reason="altered"} 2.0' in text
    assert (
        "planetserve_relay_open_circuits 4.0" in text
        and "planetserve_relay_open_links 5.0" in text
        and "planetserve_relay_queued_cells 6.0" in text
    )
    counts["cells"] += 1
    assert "planetserve_relay_cells_total 4.0" in generate_latest(registry).decode()
