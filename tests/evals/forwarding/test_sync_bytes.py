"""The bytes table and the bench of a large group run, and count what is sent."""

import asyncio

from evals.forwarding.bench_sync import measure as measure_cpu
from evals.forwarding.flight import Fleet
from evals.forwarding.sync_bytes import http_heads, measure
from evals.forwarding.traces import Request, Trace


def test_every_message_of_a_small_trace_is_counted() -> None:
    requests = tuple(Request(at, float(at), 2048, 8, tuple(range(at % 3, at % 3 + 4))) for at in range(40))
    rows = {
        each.figure.id: each.figure.value for each in measure(Trace("small", requests), Fleet(nodes=3, entries=3), (100, 50))
    }
    parts = sum(value for name, value in rows.items() if name.startswith("of_which_"))
    assert abs(parts - rows["bytes_per_request_and_peer"]) < 0.01
    assert 10 < rows["bytes_per_request_and_peer"] < rows["with_http_heads"]
    assert rows["bytes_per_request_all_peers"] > rows["bytes_per_request_and_peer"] * 1.9


def test_http_heads_are_those_of_the_sidecar() -> None:
    request, response = asyncio.run(http_heads())
    assert 60 < request < 400 and 60 < response < 400


def test_a_member_of_a_group_is_timed() -> None:
    rows = {each.figure.id: each.figure.value for each in measure_cpu(4, 10.0, 1.0)}
    assert rows["take_a_post"] > 0 and rows["tree_nodes"] > 0
