"""Both ends of an exchange keep the same recent paths, and a change told by them is the change that was meant."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.hrtree.delta import ChangeKind, Refused, Section
from network.hrtree.fingerprint import MAX_DEPTH
from network.hrtree.recent import RECENT_PATHS, RECENT_SYMBOLS, Recent, read_paths, read_section, write_paths, write_section

HOLD, DROP = ChangeKind.HOLD, ChangeKind.DROP
SPACE = bytes(8)
paths = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(bytes)
steps = st.lists(st.tuples(st.sampled_from([HOLD, HOLD, HOLD, DROP]), paths), max_size=60)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(3, 5), steps), max_size=5))
def test_what_is_written_is_read_and_both_ends_agree(sections: list[tuple[int, list[tuple[ChangeKind, bytes]]]]) -> None:
    mine, theirs = Recent(), Recent()
    for generation, changes in sections:
        section = write_section(mine, generation, SPACE, changes)
        assert read_section(theirs, section, 10**6) == [(generation, kind, path) for kind, path in changes]
        assert theirs.numbers(generation) == mine.numbers(generation)
        assert (theirs.newest, len(theirs)) == (mine.newest, len(mine))
        found = sorted(mine.numbers(generation))
        assert not any(two.startswith(one) for one, two in itertools.pairwise(found))


def test_a_growing_conversation_costs_what_is_new() -> None:
    recent = Recent()
    path = bytes(range(100))
    write_section(recent, 0, SPACE, [(HOLD, path)])
    section = write_section(recent, 0, SPACE, [(HOLD, path + b"\x07\x08"), (DROP, path)])
    assert section.symbols == b"\x07\x08"
    assert section.codes == (2, 0, 2, 3, 2, 0)


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    recent = Recent()
    for number in range(RECENT_PATHS + 10):
        recent.apply(0, HOLD, number.to_bytes(2, "big") + b"\xff")
    assert len(recent) == RECENT_PATHS
    assert (9).to_bytes(2, "big") + b"\xff" not in recent.numbers(0)
    for number in range(40):
        recent.apply(0, HOLD, bytes([number]) + bytes(MAX_DEPTH - 1))
    assert sum(len(path) for path in recent.numbers(0)) <= RECENT_SYMBOLS


def test_another_space_starts_its_generation_anew_and_old_generations_go() -> None:
    recent = Recent()
    write_section(recent, 4, SPACE, [(HOLD, b"abc")])
    write_section(recent, 5, SPACE, [(HOLD, b"abd")])
    assert write_section(recent, 5, b"another!", [(HOLD, b"abde")]).symbols == b"abde"
    assert recent.numbers(4) == {b"abc": 3}
    write_section(recent, 6, SPACE, [])
    assert recent.spaces == {5: b"another!", 6: SPACE}
    assert len(recent) == 1


def test_a_copy_is_another_set() -> None:
    recent = Recent()
    write_section(recent, 0, SPACE, [(HOLD, b"abc")])
    copy = recent.copy()
    write_section(copy, 1, SPACE, [(HOLD, b"xyz"), (DROP, b"x")])
    assert (len(recent), recent.newest, recent.spaces) == (1, 1, {0: SPACE})


@pytest.mark.parametrize(
    ("codes", "symbols", "reason"),
    [
        ((2, 0, 1), b"x", "garbage"),
        ((4, 0, 1), b"x", "garbage"),
        ((0,), b"", "garbage"),
        ((0, 2), b"x", "garbage"),
        ((0, 1), b"xy", "garbage"),
        ((0, 0), b"", "oversized"),
        ((0, MAX_DEPTH + 1), bytes(MAX_DEPTH + 1), "oversized"),
        ((0, 60, 2, 0, 1, 2, 0, 1), bytes(62), "oversized"),
    ],
)
def test_sections_that_cannot_be_are_refused(codes: tuple[int, ...], symbols: bytes, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        read_section(Recent(), Section(0, SPACE, codes, symbols), MAX_DEPTH * 2 if len(symbols) > 100 else 150)
    assert refused.value.reason == reason


@settings(deadline=None)
@given(st.dictionaries(paths, st.tuples(st.integers(0, 9), st.booleans())))
def test_listed_paths_round_trip(rows: dict[bytes, tuple[int, bool]]) -> None:
    listed = [(path, *rows[path]) for path in sorted(rows)]
    assert read_paths(write_paths(0, SPACE, listed), 10**6) == listed


@pytest.mark.parametrize(
    ("codes", "symbols"), [((1, 1, 0), b"x"), ((0, 2, 0), b"x"), ((0, 1), b"x"), ((0, 0, 0), b""), ((0, 1, 0, 1, 0, 0), b"x")]
)
def test_lists_that_cannot_be_are_refused(codes: tuple[int, ...], symbols: bytes) -> None:
    with pytest.raises(Refused):
        read_paths(Section(0, SPACE, codes, symbols), 100)


def test_numbers_that_cannot_be_restored_are_refused() -> None:
    recent = Recent(5)
    recent.restore(0, b"a", 1)
    for back in (1, 6):
        with pytest.raises(Refused):
            recent.restore(0, b"b", back)
