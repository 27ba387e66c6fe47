"""The arithmetic engine: prefill in turn, decode in a batch, and a cache that forgets leaves first."""

import pytest

from evals.forwarding.engines import Engine, Job, Speed
from evals.forwarding.traces import Request

SPEED = Speed(token_s=0.001, step_s=0.01, step_sequence_s=0.0)


def ask(number: int, blocks: tuple[int, ...], output: int = 1) -> Request:
    return Request(number, 0.0, len(blocks) * 512, output, blocks)


def drained(engine: Engine) -> list[tuple[float, Job]]:
    ended: list[tuple[float, Job]] = []
    while (at := engine.next_at()) is not None:
        ended += [(at, job) for job in engine.advance(at)[1]]
    return ended


def test_prompts_are_read_one_after_another_and_pay_for_what_is_not_cached() -> None:
    engine = Engine(SPEED, 100)
    engine.add(ask(0, (1, 2)), 0.0)
    engine.add(ask(1, (1, 3)), 0.0)
    assert engine.queued(0.0) == (1024 + 512, pytest.approx(1.024 + 0.512))
    (first, one), (second, two) = drained(engine)
    assert (first, one.cached_tokens) == (pytest.approx(1.024), 0)
    assert (second, two.cached_tokens) == (pytest.approx(1.536), 512)


def test_the_last_token_is_always_computed() -> None:
    engine = Engine(SPEED, 100)
    engine.add(ask(0, (1,)), 0.0)
    engine.add(ask(1, (1,)), 0.0)
    assert [job.cached_tokens for _, job in drained(engine)] == [0, 511]


def test_a_fuller_batch_is_slower_for_each() -> None:
    engine = Engine(Speed(token_s=0.0, step_s=0.01, step_sequence_s=0.01), 100)
    engine.add(ask(0, (1,), 11), 0.0)
    engine.advance(0.0)
    alone = engine.next_at()
    assert alone == pytest.approx(10 * 0.02)
    engine.add(ask(1, (2,), 11), 0.1)
    # Half of the first is done at 20 ms a token; both then take 30 ms a token.
    assert [at for at, _ in drained(engine)] == [pytest.approx(0.1 + 5 * 0.03), pytest.approx(0.25 + 5 * 0.02)]


def test_leaves_are_forgotten_before_what_they_hang_on() -> None:
    engine = Engine(SPEED, 3)
    engine.add(ask(0, (1, 2, 3)), 0.0)
    engine.add(ask(1, (9,)), 0.0)
    drained(engine)
    assert engine.cached(ask(2, (1, 2, 3))) == 1024
    assert engine.ever_held(ask(2, (1, 2, 3))) == 1536
    assert engine.ever_held(ask(2, (1, 4))) == 512


def test_a_prompt_longer_than_the_cache_keeps_its_beginning() -> None:
    engine = Engine(SPEED, 2)
    engine.add(ask(0, (1, 2, 3)), 0.0)
    drained(engine)
    assert engine.cached(ask(1, (1, 2, 3))) == 1024
