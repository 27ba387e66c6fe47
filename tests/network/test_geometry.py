"""Lengths follow from one another; the network's own are frozen here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.geometry import CELL_BUCKETS, GEOMETRY, MESSAGE_HEADER, Geometry, Seal, padme


def test_the_networks_lengths() -> None:
    assert (GEOMETRY.cell, GEOMETRY.cell_body, GEOMETRY.hops, GEOMETRY.n, GEOMETRY.k) == (1024, 1015, 3, 4, 3)
    assert (GEOMETRY.create_slot, GEOMETRY.created_slot, GEOMETRY.max_hops) == (120, 48, 8)
    assert (GEOMETRY.forward_body, GEOMETRY.forward_payload) == (967, 963)
    assert (GEOMETRY.backward_body, GEOMETRY.reply_clove, GEOMETRY.piece_fragment, GEOMETRY.piece) == (999, 995, 971, 2913)
    assert (Seal.X25519.overhead, Seal.HYBRID.overhead, Seal.PLAIN.overhead) == (49, 1137, 65)
    assert Seal.PLAIN.overhead == 1 + 16 * GEOMETRY.n
    assert [GEOMETRY.padded_message(cells, 49) for cells in CELL_BUCKETS[:3]] == [2362, 5251, 11029]
    assert [GEOMETRY.padded_message(cells, 1137) for cells in CELL_BUCKETS[1:3]] == [1987, 7765]


@given(st.integers(0, 800_000), st.sampled_from(Seal))
def test_a_bucket_is_the_smallest_that_fits(length: int, seal: Seal) -> None:
    cells = GEOMETRY.bucket(length, seal.overhead)
    fits = [c for c in CELL_BUCKETS if length + MESSAGE_HEADER <= GEOMETRY.padded_message(c, seal.overhead)]
    assert cells == (fits[0] if fits else None)


def test_the_largest_request_fits_and_one_byte_more_does_not() -> None:
    for seal in Seal:
        largest = GEOMETRY.padded_message(CELL_BUCKETS[-1], seal.overhead) - MESSAGE_HEADER
        assert GEOMETRY.bucket(largest, seal.overhead) == CELL_BUCKETS[-1]
        assert GEOMETRY.bucket(largest + 1, seal.overhead) is None


@given(st.integers(1, 4096))
def test_padme_wastes_at_most_an_eighth(cells: int) -> None:
    assert cells <= padme(cells) <= cells * 1.12 and padme(padme(cells)) == padme(cells)


def test_padme_vector() -> None:
    """Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", algorithm 1."""
    assert [padme(cells) for cells in (1, 7, 8, 9, 17, 33, 100, 129, 241, 255)] == [1, 7, 8, 10, 18, 36, 104, 144, 256, 256]


@pytest.mark.parametrize("wrong", [{"n": 2, "k": 3}, {"k": 0}, {"n": 17}, {"hops": 9}, {"hops": 0}])
def test_impossible_geometries_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Geometry(**wrong)
