"""The simulated rotation is CometBFT's, and what CometBFT refuses is refused."""

import pytest

from evals.ledger.simulator.validators import MAX_TOTAL_POWER, IllegalUpdate, Validator, ValidatorSet, first_set
from network.crypto import sha256

# The sequence that CometBFT v0.38's TestProposerSelection1 expects of powers 1000, 300 and 330.
TURNS = """
foo baz foo bar foo foo baz foo bar foo foo baz foo foo bar foo baz foo foo bar foo foo baz foo bar foo foo baz foo bar
foo foo baz foo foo bar foo baz foo foo bar foo baz foo foo bar foo baz foo foo bar foo baz foo foo foo baz bar foo foo
foo baz foo bar foo foo baz foo bar foo foo baz foo bar foo foo baz foo bar foo foo baz foo foo bar foo baz foo foo bar
foo baz foo foo bar foo baz foo foo
"""


def key(number: int) -> bytes:
    return sha256(bytes([number]))


def test_turns_are_comets() -> None:
    # Ties go to the lower address: bar, baz, foo in this order, as in CometBFT's test.
    bar, baz, foo = sorted((key(number) for number in range(3)), key=lambda raw: Validator(raw, 1).address)
    names = {Validator(foo, 1).address: "foo", Validator(bar, 1).address: "bar", Validator(baz, 1).address: "baz"}
    held = first_set([(foo, 1000), (bar, 300), (baz, 330)])
    seen = []
    for _ in TURNS.split():
        seen.append(names[held.proposer])
        held = held.rotated()
    assert seen == TURNS.split()


def test_equal_powers_take_turns_by_address() -> None:
    keys = [key(number) for number in range(5)]
    addresses = sorted(Validator(raw, 1).address for raw in keys)
    held = first_set([(raw, 100) for raw in keys])
    for turn in range(15):
        assert held.proposer == addresses[turn % 5]
        held = held.rotated()
    assert held.rotated(3).proposer == held.rotated().rotated().rotated().proposer


def test_a_newcomer_waits_and_who_leaves_is_gone() -> None:
    held = first_set([(key(number), 10) for number in range(4)])
    joined = held.updated([(key(9), 1000)])
    assert joined.powers()[Validator(key(9), 1).address] == 1000
    newcomer = next(one for one in joined.members if one.key == key(9))
    assert newcomer.priority == min(one.priority for one in joined.members)
    left = joined.updated([(key(9), 0), (key(0), 11)])
    assert sorted(left.powers().values()) == [10, 10, 10, 11]
    assert held.updated([]) is held
    assert joined.hash != held.hash


@pytest.mark.parametrize(
    "changes",
    [
        [(key(0), 5), (key(0), 6)],
        [(key(0), -1)],
        [(key(7), 0)],
        [(key(0), 0), (key(1), 0)],
        [(key(0), MAX_TOTAL_POWER)],
        [(key(0), MAX_TOTAL_POWER + 1)],
    ],
)
def test_updates_that_would_stop_comet(changes: list[tuple[bytes, int]]) -> None:
    held = first_set([(key(0), 10), (key(1), 10)])
    with pytest.raises(IllegalUpdate):
        held.updated(changes)


def test_priorities_stay_within_their_window() -> None:
    held = ValidatorSet((Validator(key(0), 1, 10_000), Validator(key(1), 1, -10_000)), b"")
    spread = [one.priority for one in held.rotated().members]
    assert max(spread) - min(spread) <= 2 * held.total + 2
