"""Drawing disjoint relays: as many as there can be, no two with a family or a network in common, operators' weights capped."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.chain_records import DirectoryEntry
from network.relay_draw import OPERATOR_SHARE, draw_disjoint, network_of, operator_weights, share_nothing

ADDRESSES = [f"45.{i}.113.9:1" for i in range(8)] + ["[2a00::1]:1", "[2a01::1]:1", "127.0.0.1:1", "10.1.2.3:1"]
relays = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(ADDRESSES)), max_size=24)


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("45.51.100.7:9000", "45.51.3.4:80", "45.52.100.7:9000"),
        ("[2a00:1450:4001::1]:9000", "[2a00:1450:ffff::2]:1", "[2a00:1451:4001::1]:9000"),
        ("relay.example.org:9000", "RELAY.example.org:1", "other.example.org:9000"),
        ("[::ffff:45.51.100.7]:1", "45.51.3.4:80", "[::ffff:45.52.100.7]:1"),
    ],
)
def test_a_network_is_a_16_a_32_or_a_name(address: str, same: str, other: str) -> None:
    assert network_of(address) == network_of(same) != network_of(other)


def test_addresses_that_everybody_has_are_no_network() -> None:
    for address in ("127.0.0.1:1", "localhost:1", "10.0.0.1:1", "192.168.1.1:1", "[::1]:1", "[fe80::1]:1", "[fd00::1]:1"):
        assert network_of(address) is None


@given(relays, st.integers(0, 12), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_shared_and_no_choice_yields_more(
    directory_of: Any, listed: list[tuple[int, str]], count: int, seed: int
) -> None:
    entries = directory_of([f"family-{family}" for family, _ in listed], [address for _, address in listed]).relays()
    chosen = draw_disjoint(entries, count, random.Random(seed).randbytes)
    assert all(share_nothing(relay, [other for other in chosen if other is not relay]) for relay in chosen)
    assert len(chosen) == min(count, _most(entries))


def _most(entries: Sequence[DirectoryEntry]) -> int:
    """The size of a largest matching of families and networks, by trying every choice."""
    edges = {(relay.family, network_of(relay.address) or relay.node_id.hex()) for relay in entries}
    families = sorted({family for family, _ in edges})
    reachable: set[frozenset[str]] = {frozenset()}
    for family in families:
        places = [place for name, place in edges if name == family]
        reachable |= {taken | {place} for taken in reachable for place in places if place not in taken}
    return max(map(len, reachable))


def test_what_stands_is_fitted_beside(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    entries = directory_of(["a", "b", "c", "d"], ["45.0.113.1:1", "45.0.114.1:1", "45.1.1.1:1", "127.0.0.1:1"]).relays()
    by_family = {relay.family: relay for relay in entries}
    chosen = draw_disjoint(entries, 4, draw, beside=[by_family["a"]])
    assert {relay.family for relay in chosen} == {"c", "d"}, "b lies in a's /16"


def test_lower_ranks_come_first(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    entries = directory_of([f"family-{i}" for i in range(12)]).relays()
    late = {relay.node_id for relay in entries[:6]}
    for _ in range(20):
        chosen = draw_disjoint(entries, 6, draw, rank=lambda relay: float(relay.node_id in late))
        assert not late & {relay.node_id for relay in chosen}


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 500), min_size=1, max_size=40))
def test_no_operator_weighs_more_than_its_share(sizes: dict[str, int]) -> None:
    weights = operator_weights(sizes)
    whole = sum(weights.values())
    bound = max(OPERATOR_SHARE, 1 / len(sizes))
    assert all(0 < weights[each] <= sizes[each] and weights[each] <= bound * whole * 1.000001 for each in sizes)
    for one in sizes:
        for other in sizes:
            assert weights[one] <= weights[other] or sizes[one] > sizes[other], "more relays never weigh less"


def test_an_operator_of_many_relays_is_drawn_by_its_capped_weight(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    entries = directory_of(["many"] * 60 + [f"family-{i}" for i in range(20)]).relays()
    seen = Counter(draw_disjoint(entries, 1, draw)[0].family == "many" for _ in range(3000))
    # One twelfth of 3,000 is 250, sigma 15.
    assert 175 < seen[True] < 325
