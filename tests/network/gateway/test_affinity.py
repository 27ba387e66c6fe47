"""Session affinity: the longest known beginning wins, and the table is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from network.gateway.affinity import MAX_PIECES, Affinity, prefix_hashes

PIECES = st.lists(st.binary(max_size=3), min_size=1, max_size=6)


def test_the_longest_beginning_wins() -> None:
    table = Affinity()
    table.remember("m", [b"a"], b"one")
    table.remember("m", [b"a", b"b", b"c"], b"two")
    assert table.find("m", [b"a", b"x"]) == b"one"
    assert table.find("m", [b"a", b"b", b"c", b"d"]) == b"two"
    assert table.find("m", [b"a", b"b"]) == b"one"
    assert table.find("m", [b"b"]) is None
    assert table.find("other", [b"a"]) is None


@given(st.lists(st.tuples(PIECES, st.binary(min_size=1, max_size=1)), max_size=20), PIECES)
def test_it_agrees_with_a_dictionary_of_lists(known: list[tuple[list[bytes], bytes]], asked: list[bytes]) -> None:
    table, twin = Affinity(), dict[tuple[bytes, ...], bytes]()
    for pieces, node in known:
        table.remember("m", pieces, node)
        twin[tuple(pieces)] = node
    expected = next((twin[tuple(asked[:n])] for n in range(len(asked), 0, -1) if tuple(asked[:n]) in twin), None)
    assert table.find("m", asked) == expected


def test_the_oldest_is_forgotten() -> None:
    table = Affinity(limit=2)
    for piece in (b"a", b"b"):
        table.remember("m", [piece], piece)
    assert table.find("m", [b"a"]) == b"a"  # now the newest
    table.remember("m", [b"c"], b"c")
    assert len(table) == 2 and table.find("m", [b"b"]) is None and table.find("m", [b"a"]) == b"a"


def test_pieces_are_not_confused_and_not_endless() -> None:
    assert prefix_hashes("m", [b"ab", b"c"])[1] != prefix_hashes("m", [b"a", b"bc"])[1]
    assert len(prefix_hashes("m", [b"x"] * 1000)) == MAX_PIECES
    table = Affinity()
    table.remember("m", [], b"n")
    assert len(table) == 0
