"""The simulated fleet: a golden run, what prefixes and messages are worth, failures, refusals, and equal seeds."""

import random
from dataclasses import replace

import pytest

from evals.forwarding.cells import EXCHANGES, RULES, Result, rules, simulate
from evals.forwarding.engines import Speed
from evals.forwarding.flight import NEVER, Fleet, Flight
from evals.forwarding.members import Members
from evals.forwarding.simulator import Simulation
from evals.forwarding.traces import Request, Trace, ideal_reuse

FLEET = Fleet(nodes=4, entries=4, sync_s=2.0, cache_blocks=400, seed=3)


def conversations(count: int = 12, turns: int = 6) -> Trace:
    """Growing conversations that enter anywhere, each on one of three shared beginnings."""
    draw = random.Random(5)
    rows: list[tuple[float, int, tuple[int, ...]]] = []
    for number in range(count):
        blocks: tuple[int, ...] = tuple(10 * (number % 3) + each for each in range(2))
        at = draw.uniform(0, 30)
        for turn in range(turns):
            blocks = (*blocks, *(1000 * (number + 1) + 10 * turn + each for each in range(draw.randint(1, 4))))
            rows.append((at, len(blocks) * 512 - draw.randrange(200), blocks))
            at += draw.uniform(5, 15)
    ordered = sorted(rows)
    return Trace("made", tuple(Request(number, *row[:2], 50, row[2]) for number, row in enumerate(ordered)))


TRACE = conversations()


def run(rule: str, fleet: Fleet = FLEET, exchange: str = "messages") -> Result:
    return replace(simulate(TRACE, fleet, rule, exchange), cpu_s=0.0)


def test_every_prompt_is_accounted_for_under_every_rule() -> None:
    for rule in rules():
        found = run(rule)
        assert (found.requests, found.refused) == (len(TRACE.requests), 0), rule
        assert 0 <= found.reuse <= ideal_reuse(TRACE), rule
        assert 0 < found.ttft_p50 <= found.ttft_p99, rule


def test_equal_seeds_are_equal_runs() -> None:
    assert run("ttft") == run("ttft")
    assert run("ttft") != run("ttft", replace(FLEET, seed=4))


def test_what_is_held_is_found_again_when_nodes_speak() -> None:
    told, untold, apart = run("ttft"), run("ttft", replace(FLEET, sync_s=NEVER)), run("none")
    assert told.reuse > 1.4 * untold.reuse
    assert untold == replace(apart, rule="ttft", bytes_per_request=0.0)
    assert told.bytes_per_request > 0 == untold.bytes_per_request


def test_a_central_router_that_sees_everything_is_the_bound() -> None:
    assert run("central-ttft").reuse > 0.9 * ideal_reuse(TRACE)
    assert run("central-ttft").wrong_never == 0


def test_one_listener_for_all_changes_little() -> None:
    each, shared = (run("ttft", exchange=exchange) for exchange in EXCHANGES)
    assert shared.reuse == pytest.approx(each.reuse, abs=0.05)
    assert shared.bytes_per_request == pytest.approx(each.bytes_per_request, rel=0.3)


def test_fewer_entries_than_nodes() -> None:
    fleet = replace(FLEET, entries=1)
    assert run("none", fleet).load_ratio == 4
    assert run("round-robin", fleet).load_ratio < 2


def test_a_full_node_refuses_and_the_next_takes_over() -> None:
    busy = replace(FLEET, slots=1, speed=Speed(token_s=0.01))
    found = run("none", replace(busy, entries=1))
    assert found.retried > 0
    alone = run("none", replace(busy, entries=1, nodes=1))
    assert alone.refused > found.refused


@pytest.mark.parametrize("rule", ["ttft", "paper", "lmetric"])
def test_nodes_that_die_lose_their_cache_and_nobodys_prompt(rule: str) -> None:
    churned = run(rule, replace(FLEET, fail_every_s=10.0, away_s=5.0))
    assert (churned.requests, churned.refused) == (len(TRACE.requests), 0)
    assert churned.reuse < run(rule).reuse


def test_confidential_computing_is_a_factor_and_a_constant() -> None:
    plain = Speed()
    modelled = replace(plain, factor=1.07, extra_s=0.001)
    assert modelled.prefill(1000) == pytest.approx(plain.prefill(1000) * 1.07 + 0.001)
    assert modelled.step(4, 0.0) == pytest.approx(plain.step(4, 0.0) * 1.07)


def test_baseline_rules_have_names_of_their_own() -> None:
    assert len(set(rules())) == len(rules()) and set(RULES) < set(rules())


def test_whoever_is_asked_decides_again_but_nobody_a_third_time() -> None:
    simulation = Simulation(conversations(60), replace(FLEET, sync_s=10.0), lambda it: Members(it, "ttft"))
    ended = _flights(simulation)
    turns = {len(flight.turns) for flight in ended}
    assert set(turns) == {1, 2}
    moved = [flight for flight in ended if len(flight.turns) == 2 and flight.tried[-1] != flight.turn.decider]
    assert moved and not any(flight.entry in flight.tried[1:] for flight in moved)


def _flights(simulation: Simulation) -> list[Flight]:
    """Every prompt's way, by its end."""
    ended: list[Flight] = []
    served = simulation.mind.served

    def watched(node: int, flight: Flight, now: float) -> None:
        ended.append(flight)
        served(node, flight, now)

    simulation.mind.served = watched  # type: ignore[method-assign]
    simulation.run()
    return ended
