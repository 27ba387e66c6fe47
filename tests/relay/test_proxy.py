"""The last hop: hand-over, replies by token, and refusals that the user hears of."""

from typing import Any

import pytest

from network.cell import CloseReason, Command, decode_data, encode_data, hand_over_cells
from network.circuit import State
from network.geometry import GEOMETRY
from network.handover import Handover, decode_handover, encode_handover

TOKEN = b"t" * 16
REPLY = b"\x05" * GEOMETRY.reply_clove


def _ask(world: Any, number: int = 1, token: bytes = TOKEN, sealed: bytes = b"s" * 2000, node: bytes = b"") -> Any:
    circuit = world.opened(number)
    world.send(circuit, hand_over_cells(node or world.entries["m"].node_id, token, sealed))
    return circuit


def _model_end(world: Any) -> Any:
    """The model node's end of the clove link."""
    return next(end for end in world.peers if end[0] == "m")


def _heard(world: Any, number: int = 1) -> list[tuple[Command, bytes]]:
    return [decode_data(data) for data in world.data[number]]


@pytest.fixture(autouse=True)
def _deaf_model_node(world: Any) -> None:
    """The model node's part is played by the test."""

    class Deaf:
        def on_event(self, event: Any, now: float) -> list[Any]:
            return []

    world.inbox = Deaf()


def test_a_clove_is_handed_over_and_replies_come_back(world: Any) -> None:
    circuit = _ask(world)
    _, target, raw = next(entry for entry in world.tapped if entry[1][0] == "m")
    assert decode_handover(raw) == (Handover.CLOVE, TOKEN, b"s" * 2000)
    for _ in range(2):
        world.inject(target, encode_handover(Handover.REPLY, TOKEN, REPLY))
    world.inject(target, encode_handover(Handover.END, TOKEN))
    assert _heard(world) == [(Command.REPLY, REPLY)] * 2 + [(Command.CLOSED, bytes((CloseReason.FINISHED,)))]
    world.inject(target, encode_handover(Handover.REPLY, TOKEN, REPLY))
    assert world.counts("r2") == {"dropped_unknown_token": 1}, "a token is used once"
    assert circuit.state is State.OPEN


def test_a_circuit_carries_one_request_at_a_time_and_another_after_it(world: Any) -> None:
    circuit = _ask(world)
    world.inject(_model_end(world), encode_handover(Handover.END, TOKEN))
    world.send(circuit, hand_over_cells(world.entries["m"].node_id, b"u" * 16, b"again"))
    assert world.relays["r2"].counts["cloves_handed_over"] == 2
    world.send(circuit, hand_over_cells(world.entries["m"].node_id, b"v" * 16, b"too soon"))
    assert world.counts("r2") == {"dropped_bad_data": 1} and circuit.state is State.CLOSED


def test_the_end_of_a_circuit_cancels_at_the_model_node(world: Any) -> None:
    circuit = _ask(world)
    world.do("u", circuit.close())
    world.deliver()
    assert decode_handover(world.tapped[-1][2]) == (Handover.CANCEL, TOKEN, b"")


def test_a_refused_clove_is_reported(world: Any) -> None:
    _ask(world)
    world.inject(_model_end(world), encode_handover(Handover.REFUSED, TOKEN))
    assert _heard(world) == [(Command.CLOSED, bytes((CloseReason.REFUSED,)))]


def test_an_unknown_model_node_is_reported_and_never_connected_to(world: Any) -> None:
    _ask(world, node=b"z" * 20)
    assert _heard(world) == [(Command.CLOSED, bytes((CloseReason.UNREACHABLE,)))]
    assert world.counts("r2") == {"dropped_unknown_model_node": 1}


def test_a_relay_is_not_a_model_node(world: Any) -> None:
    _ask(world, node=world.entries["r0"].node_id)
    assert _heard(world) == [(Command.CLOSED, bytes((CloseReason.UNREACHABLE,)))]


def test_a_model_node_that_goes_is_reported_to_everybody_who_waits(world: Any) -> None:
    _ask(world, 1, b"a" * 16)
    _ask(world, 2, b"b" * 16)
    world.cut(_model_end(world))
    for number in (1, 2):
        assert _heard(world, number) == [(Command.CLOSED, bytes((CloseReason.UNREACHABLE,)))]
    assert world.open_circuits() == 6


def test_a_token_in_use_is_refused(world: Any) -> None:
    _ask(world, 1)
    _ask(world, 2)
    assert _heard(world, 2) == [(Command.CLOSED, bytes((CloseReason.REFUSED,)))]
    assert _heard(world, 1) == []


def test_garbage_from_a_model_node_is_dropped_and_counted(world: Any) -> None:
    circuit = _ask(world)
    end = _model_end(world)
    for raw in (b"", b"\x03", b"\xff" * 40):
        world.inject(end, raw)
    world.inject(end, encode_handover(Handover.REPLY, TOKEN, b"short"))
    world.inject(end, encode_handover(Handover.CANCEL, TOKEN))
    world.inject(end, encode_handover(Handover.REPLY, b"?" * 16, REPLY))
    assert world.counts("r2") == {"dropped_bad_handover": 5, "dropped_unknown_token": 1}
    assert circuit.state is State.OPEN and world.data[1] == []


@pytest.mark.parametrize(
    "data",
    [
        encode_data(Command.MORE, b"x", GEOMETRY.forward_body),
        encode_data(Command.REPLY, b"x", GEOMETRY.forward_body),
        encode_data(Command.HAND_OVER, b"short", GEOMETRY.forward_body),
        b"\xff" * GEOMETRY.forward_body,
    ],
)
def test_data_that_cannot_be_ends_the_circuit(world: Any, data: bytes) -> None:
    circuit = world.opened()
    world.send(circuit, [data])
    assert world.counts("r2") == {"dropped_bad_data": 1}
    assert circuit.state is State.CLOSED and world.open_circuits() == 0
