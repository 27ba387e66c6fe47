"""Timing: ours and its baseline in turns, in CPU time of this thread, so that a busy machine disturbs both alike and little."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from evals.report import Row, row

Round = Callable[[], float]  # runs one batch; the seconds of one call


def repeated(count: int, run: Callable[[], object]) -> Round:
    """The same call again and again."""

    def once() -> float:
        started = time.thread_time()
        for _ in range(count):
            run()
        return (time.thread_time() - started) / count

    return once


def through(make: Callable[[], Sequence[Any]], run: Callable[[Any], object]) -> Round:
    """One call for each of the inputs that `make` has made before the clock starts."""

    def once() -> float:
        inputs = make()
        started = time.thread_time()
        for each in inputs:
            run(each)
        return (time.thread_time() - started) / len(inputs)

    return once


def in_turns(repeat: int, ours: Round, base: Round) -> tuple[list[float], list[float]]:
    """The seconds of `repeat` rounds of each, after one of each that does not count."""
    ours(), base()
    pairs = [(ours(), base()) for _ in range(repeat)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def timed(
    name: str,
    repeat: int,
    ours: Round,
    base: Round,
    baseline: str,
    *,
    published: tuple[str, float] | None = None,
    **limits: float | None,
) -> Row:
    """Medians in microseconds."""
    mine, theirs = ([seconds * 1e6 for seconds in found] for found in in_turns(repeat, ours, base))
    middle, least = median(mine), median(theirs)
    return row(name, middle, "us", baseline=baseline, baseline_value=least, samples=mine, published=published, **limits)
