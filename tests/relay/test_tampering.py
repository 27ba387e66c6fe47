"""Whatever a relay or a neighbour does to cells on their way, the next honest hop passes nothing of it on."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.cell import CellKind, hand_over_cells
from network.circuit import State
from network.geometry import GEOMETRY

TOKEN = b"t" * 16
CLOVE = bytes(range(256)) * 12  # four cells
SENDERS = ("u", "r0", "r1")
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _is_forward(source: Any, raw: bytes, sender: str) -> bool:
    return source[0] == sender and len(raw) == GEOMETRY.cell and raw[8] == CellKind.FORWARD


def _ask(world: Any, circuit: Any) -> None:
    for data in hand_over_cells(world.entries["m"].node_id, TOKEN, CLOVE):
        if circuit.state is State.OPEN:
            world.send(circuit, [data])


def _passed_on(world: Any, name: str) -> int:
    """Forward cells that a relay sent, or cloves that the proxy handed over."""
    if name == "r2":
        return int(world.relays["r2"].counts["cloves_handed_over"])
    return sum(_is_forward(source, raw, name) for source, _, raw in world.tapped)


@given(st.integers(0, 2), st.integers(0, GEOMETRY.cell * 8 - 1), st.integers(0, 3))
@QUIET
def test_a_bit_flipped_anywhere_in_a_cell_goes_no_further(make_world: Any, hop: int, bit: int, which: int) -> None:
    world, seen = make_world(), 0
    circuit = world.opened()

    def flip(source: Any, raw: bytes) -> list[bytes]:
        nonlocal seen
        if not _is_forward(source, raw, SENDERS[hop]):
            return [raw]
        seen += 1
        if seen != which + 1:
            return [raw]
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        return [bytes(changed)]

    world.tamper = flip
    _ask(world, circuit)
    assert _passed_on(world, f"r{hop}") == (which if hop < 2 else 0)
    assert world.relays["r2"].counts["cloves_handed_over"] == 0
    if which < 3:
        assert circuit.state is State.CLOSED, "the cell after a lost one does not open either"


def _swap(cells: list[bytes]) -> list[bytes]:
    return [cells[1], cells[0], *cells[2:]]


CHANGES = {
    "reordered": _swap,
    "duplicated": lambda cells: [cells[0], *cells],
    "dropped": lambda cells: cells[1:],
    "truncated": lambda cells: [cells[0], cells[1][:-1], *cells[2:]],
    "lengthened": lambda cells: [cells[0], cells[1] + b"x", *cells[2:]],
}


@given(st.integers(0, 2), st.sampled_from(sorted(CHANGES)))
@QUIET
def test_reordered_duplicated_lost_and_cut_cells_hand_nothing_over(make_world: Any, hop: int, change: str) -> None:
    world, held = make_world(), list[bytes]()
    circuit = world.opened()

    def gather(source: Any, raw: bytes) -> list[bytes]:
        if not _is_forward(source, raw, SENDERS[hop]):
            return [raw]
        held.append(raw)
        return CHANGES[change](held) if len(held) == 4 else []

    world.tamper = gather
    _ask(world, circuit)
    assert len(held) == 4 and world.relays["r2"].counts["cloves_handed_over"] == 0
    assert circuit.state is State.CLOSED


@given(st.integers(0, 2), st.integers(0, 3))
@QUIET
def test_a_cell_of_another_circuit_hands_nothing_over(make_world: Any, hop: int, which: int) -> None:
    """Two circuits over the same relays: a relay puts a cell of one into the other, under the other's id."""
    world = make_world()
    one, two = world.opened(1), world.opened(2)
    taken: list[bytes] = []

    def keep(source: Any, raw: bytes) -> list[bytes]:
        if _is_forward(source, raw, SENDERS[hop]):
            taken.append(raw)
        return [raw]

    world.tamper = keep
    world.send(one, hand_over_cells(world.entries["m"].node_id, b"1" * 16, CLOVE))
    before = world.relays["r2"].counts["cloves_handed_over"]
    stolen = taken[which]

    def graft(source: Any, raw: bytes) -> list[bytes]:
        return [raw[:9] + stolen[9:]] if _is_forward(source, raw, SENDERS[hop]) else [raw]

    world.tamper = graft
    world.send(two, hand_over_cells(world.entries["m"].node_id, b"2" * 16, CLOVE)[:1])
    assert world.relays["r2"].counts["cloves_handed_over"] == before and two.state is State.CLOSED
    assert one.state is State.OPEN


@given(st.integers(0, GEOMETRY.cell_body * 8 - 1), st.sampled_from(["r0", "r1", "r2"]), st.booleans())
@QUIET
def test_a_bit_flipped_on_the_way_back_never_reaches_the_user_as_data(
    make_world: Any, bit: int, sender: str, set_up: bool
) -> None:
    """In CREATED (where it reads confirmations) or in a backward cell: the user closes the circuit."""
    kind = CellKind.CREATED if set_up else CellKind.BACKWARD
    used = 3 * GEOMETRY.created_slot * 8
    bit = bit % used if set_up else bit
    world = make_world()

    def flip(source: Any, raw: bytes) -> list[bytes]:
        if source[0] != sender or len(raw) != GEOMETRY.cell or raw[8] != kind:
            return [raw]
        changed = bytearray(raw)
        changed[9 + bit // 8] ^= 1 << bit % 8
        return [bytes(changed)]

    if set_up:
        world.tamper = flip
        circuit = world.circuit()
        world.deliver()
        reached = {"r0": used, "r1": used - 384, "r2": used - 768}[sender]
        assert circuit.state is (State.CLOSED if bit < reached else State.OPEN)
        return
    circuit = world.opened()
    world.tamper = flip
    world.send(circuit, hand_over_cells(b"z" * 20, TOKEN, b"clove"))
    assert circuit.state is State.CLOSED and world.data[1] == []
