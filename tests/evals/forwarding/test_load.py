"""The load generator, over a fake engine: it waits for nobody, and failures are failures."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from evals.forwarding.fake_engine import EnginePort, EngineSpeed, FakeEngine
from evals.forwarding.http1 import Head, HttpProtocol, response, stream_head, stream_piece
from evals.forwarding.load import Ask, Outcome, drive, quantile, summary

BODY = json.dumps({"messages": [{"role": "user", "content": "x" * 4000}], "stream": True, "max_tokens": 2}).encode()


class Broken(HttpProtocol):
    """Begins a stream and goes."""

    def on_request(self, head: Head, body: bytes) -> None:
        self.write(stream_head("text/event-stream") + stream_piece(b"data: {}\n\n"))
        assert self._transport is not None
        self._transport.close()


class Refusing(HttpProtocol):
    """Refuses."""

    def on_request(self, head: Head, body: bytes) -> None:
        self.finish(response({"error": "busy"}, status=503))


@asynccontextmanager
async def listening(protocol: type[HttpProtocol] | partial[EnginePort]) -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_requests_leave_when_they_are_due_and_wait_for_the_engine_only() -> None:
    engine = FakeEngine(EngineSpeed(token_us=20.0, step_ms=0.0, answer_ms=0.0), asyncio.get_running_loop().time)
    async with listening(partial(EnginePort, engine)) as url:
        plan = [Ask(0.0, 0, BODY, counted=False), Ask(0.0, 0, BODY), Ask(0.05, 0, BODY)]
        outcomes = await drive(plan, [url])
    assert [outcome.status for outcome in outcomes] == [200] * 3
    assert all(outcome.whole and outcome.ttft_s <= outcome.total_s for outcome in outcomes)
    # The first reads about 1,000 tokens of 20 us each; the second waits for it and finds them cached.
    assert outcomes[0].ttft_s >= 0.02 and outcomes[1].ttft_s >= 0.02
    said = summary(outcomes)
    assert (said.requests, said.failures) == (2, 0)
    assert engine.counts.requests == 3


@pytest.mark.parametrize(("protocol", "reason"), [(Broken, "broke off"), (Refusing, "busy")])
async def test_what_does_not_come_whole_is_a_failure(protocol: type[HttpProtocol], reason: str) -> None:
    async with listening(protocol) as url:
        outcomes = await drive([Ask(0.0, 0, BODY)], [url])
    assert not outcomes[0].whole and reason in outcomes[0].reason
    assert summary(outcomes).failures == 1


async def test_nobody_there_is_a_failure_too() -> None:
    outcomes = await drive([Ask(0.0, 0, BODY)], ["http://127.0.0.1:9"])
    assert (outcomes[0].status, outcomes[0].whole) == (0, False)


def test_a_summary_leaves_out_what_warms_up() -> None:
    asks = [Ask(0.0, 0, b"", counted=number > 0) for number in range(101)]
    outcomes = [Outcome(ask, 200, number / 1e3, number / 1e3, 0.0, True) for number, ask in enumerate(asks)]
    said = summary(outcomes)
    assert (said.requests, said.p50_ttft, said.p99_ttft) == (100, pytest.approx(50.0), pytest.approx(99.0))


def test_quantiles_are_values_that_came() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.01, 0.25, 0.5, 0.75, 0.99)] == [1.0, 1.0, 2.0, 3.0, 4.0]
