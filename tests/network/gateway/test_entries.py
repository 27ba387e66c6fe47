"""Where a request enters: trusted nodes only, the known one first, the rest in random order."""

from hashlib import sha256

import pytest

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.directory import Directory
from network.gateway.api_error import ApiError
from network.gateway.entries import ATTEMPTS, choose_entries, served_models
from network.ids import Role


def entry(at: int, group: str = "m", *, trusted: bool = True, role: Role = Role.MODEL) -> DirectoryEntry:
    return DirectoryEntry(node_id=bytes([at]) * 20, role=role, group=group, trusted=trusted)


def directory(*entries: DirectoryEntry) -> Directory:
    return Directory(DirectoryRecord(chain_id="c", entries=entries), 1)


def rng_of(seed: int):  # type: ignore[no-untyped-def]
    state = iter(range(10**6))
    return lambda size: sha256(b"%d %d" % (seed, next(state))).digest()[:size]


NODES = directory(*(entry(at) for at in range(1, 7)), entry(9, trusted=False), entry(10, "n"), entry(11, "", role=Role.RELAY))


def test_every_trusted_node_is_an_entry_equally_often() -> None:
    firsts = [choose_entries(NODES, "m", None, rng_of(seed))[0].node_id[0] for seed in range(600)]
    counts = [firsts.count(at) for at in range(1, 7)]
    assert sum(counts) == 600 and min(counts) > 60


def test_nodes_that_seem_dead_come_last_even_the_known_one() -> None:
    for seed in range(5):
        chosen = choose_entries(NODES, "m", bytes([3]) * 20, rng_of(seed), lambda each: each.node_id[0] in (1, 2))
        assert {e.node_id[0] for e in chosen[:2]} == {1, 2} and chosen[2].node_id[0] == 3


def test_the_known_node_comes_first_while_it_is_trusted() -> None:
    for seed in range(5):
        chosen = choose_entries(NODES, "m", bytes([3]) * 20, rng_of(seed))
        assert chosen[0].node_id[0] == 3 and len({e.node_id for e in chosen}) == len(chosen) == ATTEMPTS
    assert 9 not in {e.node_id[0] for e in choose_entries(NODES, "m", bytes([9]) * 20, rng_of(1))}


@pytest.mark.parametrize(
    ("held", "model", "code"),
    [
        (directory(), "m", "starting"),
        (directory(entry(1, trusted=False)), "m", "no_capacity"),
        (NODES, "x", "model_not_found"),
        (NODES, "", "model_not_found"),
    ],
)
def test_nobody_to_enter_at_is_an_error(held: Directory, model: str, code: str) -> None:
    with pytest.raises(ApiError) as raised:
        choose_entries(held, model, None, rng_of(1))
    assert raised.value.code == code


def test_served_models_are_those_of_any_live_model_node() -> None:
    assert served_models(NODES) == ("m", "n")
