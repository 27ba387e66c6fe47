"""F6: links between validators are cut: one node, halves, a ring, at random; and mended again."""

import random
import time
from typing import Any

import pytest

KINDS = ["namespaces", "proxies"]
ONE = [(0, 3), (1, 3), (2, 3)]
HALVES = [(0, 2), (0, 3), (1, 2), (1, 3)]
RING = [(0, 2), (1, 3)]


def heights(chain: Any, members: tuple[int, ...]) -> list[int]:
    return [chain.validators[at].height() for at in members]


def healed(chain: Any, network: Any, until: Any) -> float:
    """Mend every link; how long until all have two blocks more than the best of them had."""
    goal = max(validator.height() for validator in chain.validators) + 2
    network.heal()
    began = time.monotonic()
    for validator in chain.validators:
        until(lambda v=validator: v.height() >= goal, validator.log)
    return time.monotonic() - began


@pytest.fixture
def started(networked: Any, fast: Any) -> Any:
    def start(kind: str = "") -> tuple[Any, Any]:
        chain, network = networked(4, kind=kind, params=fast, interval_ms=200)
        chain.start()
        chain.wait_height(3)
        return chain, network

    return start


def test_f06_halves_stand_still_and_go_on_together(
    started: Any, until: Any, registration: Any, committed: Any, in_a_block: Any, same_everywhere: Any, measured: Any
) -> None:
    chain, network = started()
    before = registration(1)
    committed(chain.validators[0], before)
    network.cut(HALVES)
    time.sleep(2)  # what was on its way may still make a block
    stuck = heights(chain, (0, 1, 2, 3))
    time.sleep(4)
    assert heights(chain, (0, 1, 2, 3)) == stuck, "half of the power decided a block"
    seconds = healed(chain, network, until)
    measured("F6", kind=network.kind, cut="halves", healed_s=round(seconds, 2))
    assert in_a_block(chain.validators[3], before).get("code", 0) == 0
    same_everywhere(chain)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_f06_one_node_cut_off_catches_up(
    started: Any, until: Any, registration: Any, committed: Any, in_a_block: Any, same_everywhere: Any, measured: Any, kind: str
) -> None:
    chain, network = started(kind)
    network.cut(ONE)
    time.sleep(2)
    stuck, others = heights(chain, (3,)), heights(chain, (0,))
    raw = registration(1)
    assert committed(chain.validators[1], raw).get("code", 0) == 0, "three of four go on"
    time.sleep(10)
    assert heights(chain, (3,)) == stuck and heights(chain, (0,)) > others
    seconds = healed(chain, network, until)
    measured("F6", kind=kind, cut="one", healed_s=round(seconds, 2))
    assert in_a_block(chain.validators[3], raw).get("code", 0) == 0
    same_everywhere(chain)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [10, 40])
def test_f06_halves_for_long(started: Any, until: Any, same_everywhere: Any, measured: Any, kind: str, seconds: int) -> None:
    chain, network = started(kind)
    network.cut(HALVES)
    time.sleep(2)
    stuck = heights(chain, (0, 1, 2, 3))
    time.sleep(seconds)
    assert heights(chain, (0, 1, 2, 3)) == stuck
    measured("F6", kind=kind, cut="halves", cut_s=seconds, healed_s=round(healed(chain, network, until), 2))
    same_everywhere(chain)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_f06_a_ring_goes_on(
    started: Any, until: Any, registration: Any, committed: Any, in_a_block: Any, same_everywhere: Any, measured: Any, kind: str
) -> None:
    """Each validator hears two of three others; what it misses comes round."""
    chain, network = started(kind)
    network.cut(RING)
    time.sleep(2)
    before = min(heights(chain, (0, 1, 2, 3)))
    raw = registration(1)
    assert committed(chain.validators[2], raw).get("code", 0) == 0
    time.sleep(10)
    progress = min(heights(chain, (0, 1, 2, 3))) - before
    assert progress >= 3
    measured("F6", kind=kind, cut="ring", blocks_in_10_s=progress, healed_s=round(healed(chain, network, until), 2))
    same_everywhere(chain)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_f06_links_that_come_and_go(
    started: Any, until: Any, registration: Any, committed: Any, in_a_block: Any, same_everywhere: Any, measured: Any, kind: str
) -> None:
    chain, network = started(kind)
    rng, sent = random.Random(6), [registration(number) for number in range(12)]
    for number in range(12):
        network.heal()
        network.cut(rng.sample(network.pairs, rng.randrange(1, 5)))
        chain.validators[number % 4].send(sent[number])
        time.sleep(rng.uniform(0.5, 4))
    seconds = healed(chain, network, until)
    for raw in sent:
        assert committed(chain.validators[0], raw).get("code", 0) == 0
    measured("F6", kind=kind, cut="random", healed_s=round(seconds, 2), heights=same_everywhere(chain))
