"""Queues are bounded, shed whole circuits, and pack what waits."""

import os

from network.cell import CellKind, decode_cell, destroy_cell
from network.geometry import GEOMETRY
from network.link_queue import CellQueue, MessageQueue, pad_cell


def cell(name: bytes, number: int = 0) -> bytes:
    return destroy_cell(name.ljust(8, b"."))[:-1] + bytes([number])


def test_cells_leave_in_order_sixteen_to_a_frame() -> None:
    queue = CellQueue()
    cells = [cell(b"a", number) for number in range(20)]
    assert [queue.put(each) for each in cells] == [None] * 20
    assert queue.next_frame(encrypted=False) == b"".join(cells[:16])
    assert queue.next_frame(encrypted=False) == b"".join(cells[16:])
    assert queue.next_frame(encrypted=False) is None


def test_an_encrypted_frame_fits_one_record() -> None:
    queue = CellQueue()
    for number in range(16):
        queue.put(cell(b"a", number))
    frame = queue.next_frame(encrypted=True)
    assert frame is not None and len(frame) == 15 * GEOMETRY.cell and len(frame) + 8 <= 2**14
    assert queue.next_frame(encrypted=True) == cell(b"a", 15) and len(queue) == 0


def test_a_full_queue_sheds_the_circuit_that_waits_longest() -> None:
    queue = CellQueue(4)
    for name in (b"old", b"new", b"old", b"new"):
        assert queue.put(cell(name)) is None
    assert queue.put(cell(b"new", 9)) == b"old....."
    assert queue.next_frame(encrypted=False) == cell(b"new") * 2 + cell(b"new", 9)
    for number in range(4):
        queue.put(cell(b"only", number))
    assert queue.put(cell(b"only", 9)) == b"only....", "a circuit alone on a stuck link is shed itself"
    assert queue.next_frame(encrypted=False) is None


def test_messages_are_bounded_by_bytes() -> None:
    queue = MessageQueue(10)
    assert queue.put(b"12345") and queue.put(b"67890")
    assert queue.next_frame(encrypted=False) == b"12345"
    assert queue.put(b"12345") and not queue.put(b"x")


def test_padding_is_a_whole_cell_of_noise_for_no_circuit() -> None:
    link_id, kind, body = decode_cell(pad_cell(os.urandom))
    assert (link_id, kind) == (bytes(8), CellKind.PAD) and len(set(body)) > 200
