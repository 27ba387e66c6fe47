"""The courier: credit and the link itself decide what leaves, circuits take turns, the longest waiting are found."""

from typing import Any

import pytest

from network.cell import CellKind, decode_cell, decode_credit
from network.commands import CloseLink, SendCells, TellWhenWritten
from network.geometry import GEOMETRY
from network.terms import Terms
from relay.courier import Courier, RelayFlow
from relay.limits import Limits

TERMS = Terms(window=8, credit_every=4)
IN, OUT = 1, 2


def _cells(commands: list[Any], link: int = OUT) -> list[bytes]:
    return [cell for command in commands if isinstance(command, SendCells) and command.link == link for cell in command.cells]


def _flow(courier: Courier, number: int = 0) -> RelayFlow:
    return RelayFlow(TERMS, (IN, bytes([number]) * 8), courier.outlet(OUT), (IN, bytes([number]) * 8))


@pytest.fixture
def courier() -> Courier:
    return Courier(Limits(link_room=4))


def test_cells_leave_in_order_and_what_was_passed_on_is_acknowledged(courier: Courier) -> None:
    flow = _flow(courier)
    for number in range(4):
        courier.send(flow, bytes([number]), 0.0)
    courier.order(CloseLink(9))
    commands = courier.take()
    assert commands[0] == CloseLink(9) and commands[1] == SendCells(OUT, [b"\0", b"\1", b"\2", b"\3"])
    ((link_id, kind, body),) = [decode_cell(cell) for cell in _cells(commands, IN)]
    assert (link_id, kind, decode_credit(body)) == (bytes(8), CellKind.CREDIT, 4)
    assert TellWhenWritten(OUT) in commands and courier.take() == []


def test_without_credit_cells_wait_and_leave_when_it_comes() -> None:
    courier = Courier(Limits())
    flow = _flow(courier)
    for number in range(10):
        courier.send(flow, bytes([number]), 0.0)
    assert _cells(courier.take()) == [bytes([number]) for number in range(8)] and courier.waiting_cells == 2
    flow.grant(1)
    courier.drain(flow)
    assert _cells(courier.take()) == [b"\x08"] and courier.waiting_cells == 1
    courier.forget(flow)
    assert courier.waiting_cells == 0


def test_a_link_that_has_enough_is_given_more_when_it_has_written_and_circuits_take_turns(courier: Courier) -> None:
    one, two = _flow(courier, 1), _flow(courier, 2)
    for number in range(4):
        courier.send(one, bytes([number]), 0.0)
    courier.take()
    for number in range(4):
        courier.send(one, bytes([10 + number]), 0.0)
        courier.send(two, bytes([20 + number]), 0.0)
    assert _cells(courier.take()) == []
    courier.link_ready(OUT)
    commands = courier.take()
    assert _cells(commands) == [b"\x0a", b"\x14", b"\x0b", b"\x15"] and TellWhenWritten(OUT) in commands
    courier.link_ready(OUT)
    assert _cells(courier.take()) == [b"\x0c", b"\x16", b"\x0d", b"\x17"]
    courier.link_ready(OUT)
    assert courier.take() == [] and courier.waiting_cells == 0


def test_a_flow_without_credit_does_not_block_the_link_for_others(courier: Courier) -> None:
    poor, rich = _flow(courier, 1), _flow(courier, 2)
    for number in range(4):
        courier.send(rich, bytes([number]), 0.0)
    courier.take()
    poor.credit = 0
    courier.send(poor, b"p", 0.0)
    courier.send(rich, b"r", 0.0)
    courier.link_ready(OUT)
    assert _cells(courier.take()) == [b"r"]
    poor.grant(1)
    courier.drain(poor)
    assert _cells(courier.take()) == [b"p"] and courier.waiting_cells == 0


def test_credit_while_the_link_writes_is_used_once_it_has_written(courier: Courier) -> None:
    rich, poor = _flow(courier, 1), _flow(courier, 2)
    poor.credit = 0
    courier.send(poor, b"p", 0.0)
    for number in range(4):
        courier.send(rich, bytes([number]), 0.0)
    courier.take()
    poor.grant(1)
    courier.drain(poor)
    assert _cells(courier.take()) == []
    courier.link_ready(OUT)
    assert _cells(courier.take()) == [b"p"]


def test_the_longest_waiting_are_shed_first_until_little_enough_waits() -> None:
    courier = Courier(Limits(queued_bytes=100 * GEOMETRY.cell, shed_above_percent=90, shed_to_percent=85))
    flows = [_flow(courier, number) for number in range(12)]
    for number, flow in enumerate(flows):
        flow.credit = 0
        for _ in range(8):
            courier.send(flow, b"cell", 100.0 - number)
        if courier.waiting_cells <= 90:
            assert list(courier.to_shed()) == []
    shed = []
    for circuit in courier.to_shed():
        shed.append(circuit)
        courier.forget(next(flow for flow in flows if flow.circuit == circuit))
    assert shed == [flows[11].circuit, flows[10].circuit] and courier.waiting_cells == 80


def test_a_lost_link_takes_nothing_more(courier: Courier) -> None:
    flow = _flow(courier)
    courier.send(flow, b"cell", 0.0)
    courier.take()
    courier.link_lost(OUT)
    courier.link_ready(OUT)
    assert courier.take() == []
