"""Sets of holders, each once: references, room, and names that come and go."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from network.hrtree.holder_sets import HOLDER_BYTES, NOBODY, SET_BYTES, HolderSets


@given(st.lists(st.sets(st.integers(0, 40), min_size=1)), st.data())
def test_equal_sets_share_a_number_until_the_last_reference_goes(wanted: list[set[int]], data: st.DataObject) -> None:
    sets = HolderSets(2**20)
    masks = [sets.enter(bytes([number])) for number in range(41)]
    taken = []
    for members in wanted:
        number = sets.take(sum(masks[member] for member in members))
        assert number is not None and number != NOBODY
        assert set(sets.names(sets.mask(number))) == {bytes([member]) for member in members}
        taken.append(number)
    assert len(set(taken)) == len(set(map(frozenset, wanted)))
    for number in data.draw(st.permutations(taken)):
        sets.check_integrity(Counter(taken), {})
        sets.drop(number)
        taken.remove(number)
    sets.check_integrity({}, {})
    assert sets.used == 41 * HOLDER_BYTES


def test_room_ends_for_holders_and_for_sets_and_a_reserve_is_kept() -> None:
    sets = HolderSets(2 * HOLDER_BYTES + 2 * SET_BYTES)
    one, two = sets.enter(b"one"), sets.enter(b"two")
    assert sets.take(one, reserve=SET_BYTES) is not None
    assert sets.take(one, reserve=SET_BYTES) is not None
    assert sets.take(two, reserve=SET_BYTES) is None
    assert sets.take(two) is not None
    assert sets.take(one | two) is None
    assert sets.enter(b"three") == 0
    assert sets.bit(b"three") == 0


def test_who_leaves_is_forgotten_and_its_place_is_taken() -> None:
    sets = HolderSets(2**12)
    sets.enter(b"one")
    two = sets.enter(b"two")
    sets.count(b"two", 3, 9)
    assert sets.held(b"two") == (3, 9)
    sets.leave(b"two")
    sets.leave(b"nobody")
    assert sets.holders() == (b"one",)
    assert sets.held(b"two") == (0, 0)
    assert sets.enter(b"three") == two
