"""The user's end of a circuit, as transcripts."""

from collections.abc import Callable
from typing import Any

import pytest

from network.cell import CellKind, decode_cell, destroy_cell, encode_cell
from network.circuit import BUILD_SECONDS, TRANSITIONS, Circuit, Input, State
from network.commands import PassData, ReportClosed, ReportOpened, SendCell
from network.errors import LocalProtocolError
from network.events import CellArrived, LinkLost, PathLost
from network.geometry import GEOMETRY
from network.handshake import HopIdentity

NOW = 1_800_000_000.0
LINK = 5


@pytest.fixture
def circuit(memory_path: Any, draw: Callable[[int], bytes]) -> Circuit:
    hops = [HopIdentity(relay.entry.node_id, relay.entry.onion_key) for relay in memory_path.relays]
    return Circuit(hops, b"directory-name..", LINK, draw)


@pytest.fixture
def opened(circuit: Circuit, memory_path: Any) -> Circuit:
    (create,) = circuit.build(NOW)
    assert circuit.on_event(CellArrived(LINK, memory_path.created(create.cell)), NOW) == [ReportOpened()]
    return circuit


def _destroys(circuit: Circuit) -> Callable[[Any], bool]:
    return lambda command: command == SendCell(LINK, destroy_cell(circuit.link_id))


def test_set_up_data_and_end(circuit: Circuit, memory_path: Any, playbook: Any) -> None:
    (create,) = circuit.build(NOW)
    assert circuit.next_deadline() == NOW + BUILD_SECONDS
    answer = bytes(range(256)) * 4
    book = playbook(circuit)
    book >> CellArrived(LINK, memory_path.created(create.cell)) << ReportOpened()
    assert circuit.next_deadline() is None
    (cell,) = circuit.send(answer[: GEOMETRY.forward_body])
    assert memory_path.data(cell.cell) == answer[: GEOMETRY.forward_body]
    data = answer[: GEOMETRY.backward_body]
    book >> CellArrived(LINK, memory_path.backward(data)) << PassData(data)
    book >> CellArrived(LINK, destroy_cell(circuit.link_id)) << ReportClosed
    book.nothing()
    assert circuit.state is State.CLOSED and circuit.close() == []


def test_a_set_up_that_takes_too_long_is_given_up(circuit: Circuit, playbook: Any) -> None:
    circuit.build(NOW)
    book = playbook(circuit)
    book.at(NOW + BUILD_SECONDS - 0.1).nothing()
    book.at(NOW + BUILD_SECONDS) << [_destroys(circuit), ReportClosed]


def test_a_hop_that_does_not_confirm_is_refused(circuit: Circuit, playbook: Any) -> None:
    circuit.build(NOW)
    forged = encode_cell(circuit.link_id, CellKind.CREATED, b"\x09" * GEOMETRY.cell_body)
    playbook(circuit) >> CellArrived(LINK, forged) << [_destroys(circuit), ReportClosed]


def test_an_altered_cell_ends_it(opened: Circuit, memory_path: Any, playbook: Any) -> None:
    cell = bytearray(memory_path.backward(bytes(GEOMETRY.backward_body)))
    cell[500] ^= 1
    playbook(opened) >> CellArrived(LINK, bytes(cell)) << [_destroys(opened), ReportClosed]
    assert opened.dropped == 1


def test_a_replayed_cell_ends_it(opened: Circuit, memory_path: Any, playbook: Any) -> None:
    cell = memory_path.backward(bytes(GEOMETRY.backward_body))
    book = playbook(opened)
    book >> CellArrived(LINK, cell) << PassData
    book >> CellArrived(LINK, cell) << [_destroys(opened), ReportClosed]


def test_garbage_and_cells_out_of_place_are_dropped_and_counted(opened: Circuit, playbook: Any) -> None:
    book = playbook(opened)
    body = bytes(GEOMETRY.cell_body)
    wrong = [
        b"",
        b"x" * 1023,
        encode_cell(opened.link_id, CellKind.CREATE, body),
        encode_cell(opened.link_id, CellKind.CREATED, body),
        encode_cell(opened.link_id, CellKind.FORWARD, body),
        encode_cell(bytes(8), CellKind.BACKWARD, body),
        destroy_cell(bytes(8)),
    ]
    for raw in wrong:
        (book >> CellArrived(LINK, raw)).nothing()
    assert opened.dropped == len(wrong) and opened.state is State.OPEN


def test_a_lost_link_is_the_end(opened: Circuit, playbook: Any) -> None:
    playbook(opened) >> LinkLost(LINK) << ReportClosed


def test_closing_tells_the_first_relay(opened: Circuit) -> None:
    command, report = opened.close()
    assert isinstance(report, ReportClosed) and isinstance(command, SendCell)
    assert decode_cell(command.cell)[1] is CellKind.DESTROY


def test_our_own_mistakes_are_ours(circuit: Circuit, opened: Circuit) -> None:
    with pytest.raises(LocalProtocolError):
        opened.build(NOW)
    with pytest.raises(LocalProtocolError):
        opened.on_event(PathLost(0), NOW)
    opened.close()
    with pytest.raises(LocalProtocolError):
        opened.send(bytes(GEOMETRY.forward_body))


def test_the_table_leads_everywhere_and_never_back_from_closed() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State) - {State.CLOSED}
    assert {what for _, what in TRANSITIONS} == set(Input)
    assert set(TRANSITIONS.values()) == {State.BUILDING, State.OPEN, State.CLOSED}
