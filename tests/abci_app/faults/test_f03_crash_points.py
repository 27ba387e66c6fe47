"""F3: CometBFT ends itself at its own crash points (FAIL_TEST_INDEX), on a chain of one and on one of four."""

from typing import Any

import pytest

# Ten points are passed per block: sixty are six blocks. In runs, so that each stays within minutes.
RUNS = [range(0, 15), range(15, 30), range(30, 45), range(45, 61)]


def crash_at(validator: Any, points: Any, index: int, until: Any) -> float:
    """One crash at this point; how long until two blocks more."""
    before, pids = points.obeyed(), validator.children()
    points.arm(index)
    assert validator.stop() == 0
    validator.start()
    until(lambda: points.obeyed() > before, lambda: f"{index} was never reached\n{validator.log()}")
    assert validator.children().get("comet") != pids["comet"]
    height = validator.height()
    return float(until(lambda: validator.height() >= height + 2, validator.log))


def sweep(
    chain: Any,
    indices: Any,
    crash_points: Any,
    until: Any,
    same_everywhere: Any,
    measured: Any,
    registration: Any,
    committed: Any,
) -> None:
    armed = [crash_points(validator) for validator in chain.validators]
    chain.start()
    chain.wait_height(2)
    slowest = 0.0
    for index in indices:
        at = index % len(armed)
        raw = registration(index)
        chain.validators[(at + 1) % len(armed)].send(raw)
        slowest = max(slowest, crash_at(chain.validators[at], armed[at], index, until))
        assert committed(chain.validators[at], raw).get("code", 0) == 0
    heights = same_everywhere(chain)
    measured("F3", nodes=len(armed), points=len(indices), heights=heights, slowest_recovery_s=round(slowest, 2))


@pytest.fixture
def tools(
    crash_points: Any, until: Any, same_everywhere: Any, measured: Any, registration: Any, committed: Any
) -> tuple[Any, ...]:
    return crash_points, until, same_everywhere, measured, registration, committed


def test_f03_the_points_around_finalize_block_and_commit(make_chain: Any, fast: Any, tools: tuple[Any, ...]) -> None:
    sweep(make_chain(1, params=fast), range(3, 8, 2), *tools)


@pytest.mark.slow
@pytest.mark.parametrize("indices", RUNS, ids=str)
def test_f03_every_point_on_one_node(
    make_chain: Any, fast: Any, tools: tuple[Any, ...], same_as_undisturbed: Any, indices: Any
) -> None:
    chain = make_chain(1, params=fast)
    sweep(chain, indices, *tools)
    same_as_undisturbed(chain.validators[0])


@pytest.mark.slow
@pytest.mark.parametrize("indices", RUNS, ids=str)
def test_f03_every_point_on_four_nodes(make_chain: Any, fast: Any, tools: tuple[Any, ...], indices: Any) -> None:
    sweep(make_chain(4, params=fast, interval_ms=200), indices, *tools)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(0, 12, 2))
def test_f03_four_nodes_at_the_same_point(
    make_chain: Any, fast: Any, crash_points: Any, until: Any, same_everywhere: Any, measured: Any, index: int
) -> None:
    chain = make_chain(4, params=fast, interval_ms=200)
    armed = [crash_points(validator) for validator in chain.validators]
    for points in armed:
        points.arm(index)
    chain.start()
    for points in armed:
        until(points.obeyed, points.validator.log)
    seconds = until(lambda: all(v.height() >= 3 for v in chain.validators), chain.validators[0].log)
    measured("F3", nodes=4, all_at=index, recovered_s=round(seconds, 2), heights=same_everywhere(chain))
