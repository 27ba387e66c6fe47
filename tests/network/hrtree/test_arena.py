"""Rows of symbols: splits, joins, tables of children, and the ring of last use."""

import pytest

from network.hrtree.arena import ROOT, RUN, TABLE_FROM, Arena


def line(*runs: bytes) -> tuple[Arena, list[int]]:
    arena, at = Arena(), ROOT
    rows = []
    for run in runs:
        at = arena.add(at, run, 1, 1.0)
        rows.append(at)
    return arena, rows


def test_a_split_and_a_join_undo_each_other() -> None:
    arena, (first, second) = line(b"abcdef", b"gh")
    head = arena.split(first, 2)
    arena.check_integrity()
    assert [arena.run(at) for at in (head, first, second)] == [b"ab", b"cdef", b"gh"]
    assert (arena.path(second), arena.depth(second)) == (b"abcdefgh", 8)
    arena.join(head, first)
    arena.check_integrity()
    assert [arena.run(at) for at in (first, second)] == [b"abcdef", b"gh"]
    assert arena.child(ROOT, ord("a")) == first


def test_children_are_found_with_and_without_a_table() -> None:
    arena = Arena()
    rows = {}
    for symbol in range(256):
        rows[symbol] = arena.add(ROOT, bytes([symbol]), 1, 1.0)
        assert (ROOT in arena.tables) == (symbol + 1 >= TABLE_FROM)
        assert arena.branches(ROOT, 12) == (symbol + 1 >= 12)
    assert all(arena.child(ROOT, symbol) == at for symbol, at in rows.items())
    arena.check_integrity()
    for symbol in range(250):
        arena.remove(rows.pop(symbol))
        arena.check_integrity()
    assert not arena.tables
    assert {arena.run(at)[0]: at for at in arena.children(ROOT)} == rows
    assert arena.child(ROOT, 0) == ROOT


def test_the_ring_ends_with_the_leaf_used_longest_ago() -> None:
    arena, (head, old) = line(b"a", b"b")
    new = arena.add(head, b"c", 1, 2.0)
    arena.use([head, old], 3.0)
    assert arena.oldest() == new
    arena.remove(new)
    assert arena.oldest() == old
    arena.remove(old)
    arena.remove(head)
    assert (arena.oldest(), len(arena)) == (ROOT, 0)
    arena.check_integrity()


def test_rows_that_were_given_back_are_used_again() -> None:
    arena, rows = line(b"a", b"b", b"c")
    for at in reversed(rows):
        arena.remove(at)
    size = len(arena.parent)
    for symbol in range(3):
        arena.add(ROOT, bytes([symbol]), 1, 1.0)
    assert len(arena.parent) == size
    arena.check_integrity()


@pytest.mark.parametrize(("path", "depth", "expected"), [(b"xabcd", 1, 4), (b"abxd", 0, 2), (b"ab", 0, 2), (b"abcdef", 0, 4)])
def test_matched_counts_symbols_alike(path: bytes, depth: int, expected: int) -> None:
    arena, (row,) = line(b"abcd")
    assert arena.matched(row, path, depth) == expected


def test_a_leaf_grows_to_a_full_row() -> None:
    arena, (row,) = line(b"ab")
    arena.extend(row, bytes(RUN - 2))
    assert arena.run(row) == b"ab" + bytes(RUN - 2)
    arena.check_integrity()
