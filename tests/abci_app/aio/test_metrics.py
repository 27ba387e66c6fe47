"""What Prometheus reads of the calls, and readiness derived from them."""

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import Histogram, generate_latest
from prometheus_client.registry import CollectorRegistry

from abci_app.abci.order import CallOrder
from abci_app.aio import metrics
from abci_app.aio.metrics import Observed, Timings


def test_timings_read_as_the_librarys_histogram_would() -> None:
    plain, ours = CollectorRegistry(), CollectorRegistry()
    name = "planetserve_abci_duration_seconds"
    histogram = Histogram(name, "Time per ABCI call", ["method"], buckets=metrics._BUCKETS, registry=plain)
    timings = Timings()
    ours.register(timings)
    for method, seconds in (("commit", 0.01), ("commit", 0.0101), ("commit", 5.0), ("check_tx", 0.00001)):
        timings.add(method, seconds, False)
        histogram.labels(method).observe(seconds)
    expected = [line for line in generate_latest(plain).decode().splitlines() if "_created" not in line]
    read = generate_latest(ours).decode().splitlines()
    assert [line for line in read if "failures" not in line] == expected


def test_failures_and_codes_are_counted_and_silence_is_not_ready() -> None:
    now = [100.0]
    app: Any = SimpleNamespace(height=7, running_epoch=lambda: 2, committed_codes=lambda: [0, 5, 0])
    order = CallOrder(7)
    order.unseen = 3
    observed = Observed(app, "v", lambda: now[0], order)
    assert observed.status()["reason"] == "no block since the start"
    observed.observe("query", 0.001, True)
    observed.observe("commit", 0.001, False)
    assert observed.status()["reason"] == "catching up with the chain"
    observed.observe("process_proposal", 0.001, False)
    assert observed.status() == {"name": "v", "role": "validator", "ready": True, "reason": "", "height": 7, "epoch": 2}
    now[0] += metrics.STALL_SECONDS + 1
    assert observed.status()["ready"] is False
    lines = generate_latest(observed.registry).decode().splitlines()
    assert 'planetserve_abci_failures_total{method="query"} 1.0' in lines and "planetserve_unseen_blocks 3.0" in lines
    assert 'planetserve_txs_total{code="0"} 2.0' in lines and 'planetserve_txs_total{code="5"} 1.0' in lines


@pytest.mark.parametrize("bound", metrics._BUCKETS)
def test_a_bound_belongs_to_its_bucket(bound: float) -> None:
    timings = Timings()
    timings.add("info", bound, False)
    family = next(timings.collect())
    assert next(sample.value for sample in family.samples if sample.labels.get("le") == str(bound)) == 1
