"""Cells and their data: a vector, round trips, and garbage that is refused with one kind of error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.cell import (
    CellKind,
    Command,
    DestroyReason,
    HandOverReader,
    decode_cell,
    decode_data,
    decode_destroy,
    destroy_cell,
    encode_cell,
    encode_data,
    hand_over_cells,
    split_frame,
)
from network.errors import DecodeError
from network.geometry import GEOMETRY

LINK_ID = bytes(range(8))


def test_vectors() -> None:
    raw = encode_cell(LINK_ID, CellKind.FORWARD, b"\xaa" * GEOMETRY.cell_body)
    assert raw.hex() == "000102030405060703" + "aa" * 1015
    assert destroy_cell(LINK_ID).hex() == "000102030405060705" + "00" * 1015
    assert destroy_cell(LINK_ID, DestroyReason.BUSY, 12).hex() == "0001020304050607050" + "10c" + "00" * 1013
    assert encode_data(Command.REPLY, b"\xbb\xcc", 8).hex() == "03000002bbcc0000"


@given(st.binary(min_size=8, max_size=8), st.sampled_from(list(CellKind)))
def test_cells_round_trip(link_id: bytes, kind: CellKind) -> None:
    body = bytes(GEOMETRY.cell_body)
    assert decode_cell(encode_cell(link_id, kind, body)) == (link_id, kind, body)


@given(st.binary(max_size=1100))
def test_garbage_is_a_cell_or_a_decode_error(raw: bytes) -> None:
    try:
        link_id, kind, body = decode_cell(raw)
    except DecodeError:
        return
    assert encode_cell(link_id, kind, body) == raw


def test_wrong_lengths_and_kinds_are_refused() -> None:
    whole = destroy_cell(LINK_ID)
    for wrong in (b"", whole[:-1], whole + b"\0", LINK_ID + b"\x00" + whole[9:], LINK_ID + b"\x08" + whole[9:]):
        with pytest.raises(DecodeError):
            decode_cell(wrong)


def test_a_frame_is_one_to_sixteen_whole_cells() -> None:
    whole = destroy_cell(LINK_ID)
    assert split_frame(whole * 16) == [whole] * 16
    for wrong in (b"", whole * 17, whole + b"x", whole[:-1]):
        with pytest.raises(DecodeError):
            split_frame(wrong)


@given(st.sampled_from(list(Command)), st.binary(max_size=GEOMETRY.forward_payload))
def test_data_round_trips(command: Command, payload: bytes) -> None:
    assert decode_data(encode_data(command, payload, GEOMETRY.forward_body)) == (command, payload)


def test_data_that_is_not_as_specified_is_refused() -> None:
    good = bytearray(encode_data(Command.MORE, b"abc", 20))
    for at, value in ((0, 0), (0, 9), (1, 1), (2, 1), (3, 2), (19, 1)):
        wrong = bytearray(good)
        wrong[at] = value
        with pytest.raises(DecodeError):
            decode_data(bytes(wrong))


@given(st.binary(min_size=1, max_size=5000))
def test_a_hand_over_gathers_what_was_cut(sealed: bytes) -> None:
    cells = [decode_data(data) for data in hand_over_cells(b"m" * 20, b"t" * 16, sealed)]
    assert [command for command, _ in cells] == [Command.HAND_OVER] + [Command.MORE] * (len(cells) - 1)
    reader = HandOverReader(cells[0][1])
    for _, payload in cells[1:]:
        assert reader.clove() is None
        reader.add(payload)
    assert (reader.model_node, reader.token, reader.clove()) == (b"m" * 20, b"t" * 16, sealed)


def test_a_hand_over_bounds_what_it_holds() -> None:
    head = b"m" * 20 + b"t" * 16
    for wrong in (head, head + bytes(4) + b"x", head + (GEOMETRY.max_clove + 1).to_bytes(4, "big") + b"x"):
        with pytest.raises(DecodeError):
            HandOverReader(wrong)
    reader = HandOverReader(head + (3).to_bytes(4, "big") + b"ab")
    assert reader.held == 2
    for wrong in (b"cd", b""):
        with pytest.raises(DecodeError):
            reader.add(wrong)


@given(st.sampled_from(list(DestroyReason)), st.integers(0, 255))
def test_reasons_round_trip_and_effort_belongs_to_busy(reason: DestroyReason, effort: int) -> None:
    body = decode_cell(destroy_cell(LINK_ID, reason, effort))[2]
    assert decode_destroy(body) == (reason, effort if reason is DestroyReason.BUSY else 0)


def test_an_unknown_reason_is_none() -> None:
    assert decode_destroy(b"\xff\x09".ljust(GEOMETRY.cell_body, b"x")) == (DestroyReason.NONE, 0)
