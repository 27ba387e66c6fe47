"""Relays and a model node in memory: cells pass, and everything that is wrong is dropped, counted, and harmless."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.cell import (
    CellKind,
    Command,
    DestroyReason,
    credit_cell,
    decode_destroy,
    destroy_cell,
    encode_cell,
    encode_data,
    hand_over_cells,
)
from network.chain_records import DirectoryRecord
from network.circuit import Circuit, State
from network.crypto import exchange_public
from network.directory import Directory
from network.errors import LocalProtocolError
from network.events import CellsShed, FrameArrived, PathLost
from network.freshness import REMEMBER_SECONDS
from network.geometry import GEOMETRY
from network.handover import Handover, decode_handover, encode_handover
from network.handshake import HopIdentity, OnionKey
from network.puzzle import solve
from network.terms import Terms
from relay.circuit_table import SWEEP_SECONDS
from relay.limits import Limits

TOKEN = b"t" * 16


def _first(world: Any, kind: CellKind, source: str) -> tuple[Any, bytes]:
    """The first cell of a kind that a node sent: (its end of the link, raw)."""
    return next((s, raw) for s, _, raw in world.tapped if s[0] == source and len(raw) == 1024 and raw[8] == kind)


def test_a_circuit_opens_carries_and_ends(world: Any) -> None:
    circuit = world.opened()
    assert world.open_circuits() == 3
    world.do("u", circuit.close())
    world.deliver()
    assert world.open_circuits() == 0
    assert all(world.counts(name) == {} for name in world.relays)


def test_ids_are_swapped_and_no_link_repeats_anothers_bytes(world: Any) -> None:
    circuit = world.opened()
    world.send(circuit, hand_over_cells(world.entries["m"].node_id, TOKEN, bytes(range(256)) * 8))
    seen: dict[bytes, frozenset[Any]] = {}
    for source, target, raw in world.tapped:
        link = frozenset((source, target))
        body = raw[9:] if len(raw) == 1024 else raw[1:]
        if len(raw) == 1024 and raw[8] == CellKind.DESTROY:
            continue
        for at in range(len(body) - 15):
            assert seen.setdefault(body[at : at + 16], link) == link
    ids = {frozenset((source, target)): raw[:8] for source, target, raw in world.tapped if len(raw) == 1024}
    assert len(set(ids.values())) == len(ids) == 3


@given(st.integers(0, 2), st.integers(0, GEOMETRY.cell_body * 8 - 1))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_altered_cell_is_dropped_at_the_next_hop_and_ends_the_circuit(make_world: Any, hop: int, bit: int) -> None:
    world = make_world()
    circuit = world.opened()
    sender = ("u", "r0", "r1")[hop]

    def flip(source: Any, raw: bytes) -> list[bytes]:
        if source[0] != sender or len(raw) != 1024 or raw[8] != CellKind.FORWARD:
            return [raw]
        changed = bytearray(raw)
        changed[9 + bit // 8] ^= 1 << bit % 8
        return [bytes(changed)]

    world.tamper = flip
    world.send(circuit, hand_over_cells(world.entries["m"].node_id, TOKEN, b"clove"))
    assert world.counts(f"r{hop}") == {"dropped_altered": 1}
    assert all(world.counts(f"r{other}") == {} for other in range(3) if other != hop)
    assert circuit.state is State.CLOSED and world.open_circuits() == 0


def test_a_replayed_cell_is_dropped(world: Any) -> None:
    circuit = world.opened()
    world.send(circuit, hand_over_cells(world.entries["m"].node_id, TOKEN, b"clove"))
    source, raw = _first(world, CellKind.FORWARD, "r0")
    world.inject(source, raw)
    assert world.counts("r1") == {"dropped_altered": 1}


def test_a_replayed_create_is_refused_even_on_a_new_link_id(world: Any) -> None:
    world.opened()
    source, raw = _first(world, CellKind.CREATE, "u")
    world.inject(source, raw)
    assert world.counts("r0") == {"dropped_id_in_use": 1}
    world.inject(source, b"another." + raw[8:])
    assert world.counts("r0") == {"dropped_id_in_use": 1, "dropped_replayed_create": 1}
    world.now += 2 * REMEMBER_SECONDS
    world.inject(source, b"another." + raw[8:])
    assert world.counts("r0")["dropped_bad_create"] == 1, "what the replay set has forgotten is stale"
    assert len(world.relays["r1"].circuits) == 1


@given(st.binary(max_size=1100))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_dropped_and_counted(make_world: Any, raw: bytes) -> None:
    world = make_world()
    world.opened()
    before = sum(world.counts("r0").values())
    world.inject(("u", 1), raw)
    assert sum(world.counts("r0").values()) == before + 1
    assert world.open_circuits() == 3


def test_garbage_of_every_kind_with_a_valid_frame(world: Any) -> None:
    circuit = world.opened()
    for kind in CellKind:
        world.inject(("u", 1), encode_cell(b"unknown.", kind, b"\x07" * GEOMETRY.cell_body))
    assert world.counts("r0") == {"dropped_bad_create": 1, "dropped_unknown_circuit": 5}
    world.inject(("u", 1), encode_cell(circuit.link_id, CellKind.BACKWARD, bytes(GEOMETRY.cell_body)))
    assert world.counts("r0")["dropped_out_of_place"] == 1
    assert world.open_circuits() == 3


def test_a_neighbour_cannot_touch_circuits_of_another_link(world: Any) -> None:
    one, two = world.opened(1), world.opened(2)
    world.inject(("u", 2), destroy_cell(one.link_id))
    assert one.state is two.state is State.OPEN and world.open_circuits() == 6


@pytest.mark.parametrize("second", ["m", "r0"])
def test_a_next_hop_that_is_no_other_relay_is_refused(world: Any, second: str) -> None:
    circuit = world.circuit(1, ("r0", second, "r2"))
    world.deliver()
    assert circuit.state is State.CLOSED and world.open_circuits() == 0
    assert world.counts("r0") == {"dropped_unknown_next_hop": 1}


def test_a_next_hop_that_left_the_directory_is_refused(world: Any) -> None:
    circuit = world.circuit()
    del world.entries["r1"]
    world.deliver()
    assert circuit.state is State.CLOSED and world.counts("r0") == {"dropped_unknown_next_hop": 1}


@pytest.mark.parametrize("name", ["r0", "r1", "r2"])
def test_a_dead_relay_ends_its_circuits_at_both_sides(world: Any, name: str) -> None:
    circuit = world.opened()
    for end in [end for end in list(world.peers) if end[0] == name]:
        if end in world.peers:
            world.cut(end)
    assert circuit.state is State.CLOSED and world.open_circuits() == 0


def test_idle_circuits_and_links_go(world: Any) -> None:
    circuit = world.opened()
    relay = world.relays["r0"]
    assert relay.next_deadline() == world.now + SWEEP_SECONDS
    world.now += Limits().idle_seconds
    world.do("r0", relay.expire(world.now))
    world.deliver()
    assert circuit.state is State.CLOSED and world.open_circuits() == 0
    for _ in range(2):
        world.now += Limits().idle_link_seconds
        for name in world.relays:
            world.do(name, world.relays[name].expire(world.now))
            world.deliver()
    assert all(each.next_deadline() is None or each.next_deadline() > world.now for each in world.relays.values())
    world.now += SWEEP_SECONDS
    for name in world.relays:
        world.do(name, world.relays[name].expire(world.now))
    assert [each.next_deadline() for each in world.relays.values()] == [None] * 3
    assert [end for end in world.peers if end[0] == "u"] == [("u", 1)], "only the user's own link is left"


def test_no_circuit_lives_for_ever(world: Any) -> None:
    circuit = world.opened()
    relay = world.relays["r0"]
    for relayed in relay.circuits:
        relayed.used = world.now + Limits().life_seconds
    world.now += Limits().life_seconds
    world.do("r0", relay.expire(world.now))
    world.deliver()
    assert circuit.state is State.CLOSED


def test_a_link_carries_a_bounded_number_of_circuits(make_world: Any) -> None:
    world = make_world(limits=Limits(circuits_per_link=1))
    world.opened()
    source, raw = _first(world, CellKind.CREATE, "u")
    world.inject(source, b"another." + raw[8:])
    assert world.counts("r0") == {"dropped_full": 1}


def test_a_shed_circuit_is_destroyed_both_ways(world: Any) -> None:
    circuit = world.opened()
    relayed = next(iter(world.relays["r1"].circuits))
    world.do("r1", world.relays["r1"].on_event(CellsShed(relayed.link_out, relayed.id_out), world.now))
    world.deliver()
    assert circuit.state is State.CLOSED and world.open_circuits() == 0
    assert world.relays["r1"].counts["circuits_shed"] == 1


def test_other_events_are_our_own_mistake(world: Any) -> None:
    with pytest.raises(LocalProtocolError):
        world.relays["r0"].on_event(PathLost(1), world.now)


def test_a_user_with_another_list_opens_nothing(world: Any) -> None:
    """A directory of somebody else's making, even one that lists the same relays under the same keys."""
    world.circuit()
    fake = Directory(DirectoryRecord("test", 9, 9, b"", world.directory().record.entries), 9)
    circuit = Circuit(
        [HopIdentity(world.entries[name].node_id, world.entries[name].onion_key) for name in world.relays],
        fake.name,
        1,
        world.draw,
    )
    world.wire.clear()
    world.circuits[1] = circuit
    world.do("u", circuit.build(world.now))
    world.deliver()
    assert circuit.state is State.CLOSED and world.open_circuits() == 0
    assert world.counts("r0") == {"dropped_foreign_directory": 1}


def test_an_older_directory_is_good_for_a_while(world: Any) -> None:
    circuit = world.circuit()
    world.entries["r9"] = replace(world.entries["r0"], node_id=b"n" * 20)
    assert world.directory().height == 2
    world.deliver()
    assert circuit.state is State.OPEN


def test_a_set_up_for_the_previous_onion_key_is_opened_until_that_is_forgotten(world: Any) -> None:
    relay, entry = world.relays["r0"], world.entries["r0"]
    private = bytes(range(32))
    newer = OnionKey(private, exchange_public(private))
    relay.use_onion_keys([newer, *relay.onion_keys])
    assert world.opened().state is State.OPEN
    relay.use_onion_keys([newer])
    circuit = world.circuit(2)
    world.deliver()
    assert circuit.state is State.CLOSED and world.counts("r0") == {"dropped_bad_create": 1}
    world.entries["r0"] = replace(entry, onion_key=newer.public)
    assert world.opened(3).state is State.OPEN and world.open_circuits() == 6


def test_the_user_hears_why_a_hop_refused_but_nothing_once_the_circuit_stands(world: Any) -> None:
    world.circuit(1, ("r0", "r1", "m"))
    world.deliver()
    told = [decode_destroy(raw[9:]) for _, target, raw in world.tapped if target[0] == "u" and raw[8] == CellKind.DESTROY]
    assert told == [(DestroyReason.REFUSED, 0)]
    world.opened(2)
    relayed = next(iter(world.relays["r1"].circuits))
    world.do("r1", world.relays["r1"].on_event(CellsShed(relayed.link_in, relayed.id_in), world.now))
    world.deliver()
    told = [decode_destroy(raw[9:]) for _, target, raw in world.tapped if raw[8] == CellKind.DESTROY]
    assert told[-3:] == [(DestroyReason.SHED, 0), (DestroyReason.NONE, 0), (DestroyReason.NONE, 0)]


def test_padding_is_dropped_in_silence(world: Any) -> None:
    world.opened()
    world.inject(("u", 1), encode_cell(bytes(8), CellKind.PAD, bytes(range(203)) * 5))
    assert world.counts("r0") == {} and world.open_circuits() == 3


SMALL = Terms(window=8, credit_every=4)


def _backward_cells(world: Any, count: int, name: str = "r2") -> None:
    """The proxy sends so many cells towards the user."""
    core = world.relays[name]
    (circuit,) = core.circuits
    for _ in range(count):
        core._proxy._send(circuit, Command.REPLY, bytes(GEOMETRY.reply_clove), world.now)
    world.do(name, core._courier.take())
    world.deliver()


def test_more_cells_than_a_window_pass_both_ways(make_world: Any) -> None:
    world = make_world(terms=SMALL)
    circuit = world.opened()
    world.send(circuit, hand_over_cells(world.entries["m"].node_id, TOKEN, bytes(GEOMETRY.sealed_clove(64))))
    assert world.relays["r2"].counts["cloves_handed_over"] == 1
    _backward_cells(world, 100)
    assert len(world.data[1]) >= 100 and circuit.state is State.OPEN
    assert all(core.queued_cells == 0 for core in world.relays.values())
    credits = Counter(source[0] for source, _, raw in world.tapped if len(raw) == 1024 and raw[8] == CellKind.CREDIT)
    assert set(credits) == {"u", "r0", "r1", "r2"}


def _swallow_credit(*senders: str) -> Any:
    def tamper(source: Any, raw: bytes) -> list[bytes]:
        return [] if source[0] in senders and len(raw) == 1024 and raw[8] == CellKind.CREDIT else [raw]

    return tamper


def test_a_user_who_gives_no_credit_makes_no_relay_hold_more_than_a_window_and_the_proxy_a_bounded_queue(
    make_world: Any,
) -> None:
    world = make_world(terms=SMALL, limits=Limits(proxy_reply_cells=20))
    circuit = world.opened()
    world.tamper = _swallow_credit("u")
    _backward_cells(world, 20)
    held = {name: core.queued_cells for name, core in world.relays.items()}
    assert len(world.data[1]) == 8 and sum(held.values()) == 12
    assert all(cells <= SMALL.window for cells in held.values()) and circuit.state is State.OPEN


def test_who_sends_more_than_it_has_credit_for_loses_the_circuit(make_world: Any) -> None:
    world = make_world(terms=SMALL)
    circuit = world.opened()
    world.tamper = _swallow_credit("r0", "r1")
    for data in hand_over_cells(world.entries["m"].node_id, TOKEN, bytes(GEOMETRY.sealed_clove(64))):
        if circuit.state is State.OPEN:
            circuit._forward.credit = SMALL.window
            world.do("u", circuit.send(data))
            world.deliver()
    assert circuit.state is State.CLOSED and world.counts("r0") == {"dropped_over_window": 1}


@pytest.mark.parametrize("count", [0, 1, 500])
def test_credit_for_nothing_ends_the_circuit(make_world: Any, count: int) -> None:
    world = make_world(terms=SMALL)
    circuit = world.opened()
    world.inject(("u", 1), credit_cell(circuit.link_id, count))
    assert circuit.state is State.CLOSED and world.counts("r0") == {"dropped_bad_credit": 1}


def test_a_slow_user_costs_the_circuit_that_waited_longest_when_the_relay_is_full(make_world: Any) -> None:
    world = make_world(limits=Limits(queued_bytes=40 * GEOMETRY.cell))
    slow, other = world.opened(1), world.opened(2)
    world.tamper = lambda source, raw: [] if source == ("u", 1) and raw[8] == CellKind.CREDIT else [raw]
    core = world.relays["r0"]
    first, second = core.circuits
    for circuit in (first, second):
        circuit.backward.credit = 0
        world.now += 1
        frame = b"".join(encode_cell(circuit.id_out, CellKind.BACKWARD, bytes(GEOMETRY.cell_body)) for _ in range(16))
        world.do("r0", core.on_event(FrameArrived(circuit.link_out, frame), world.now))
    world.do("r0", core.on_event(FrameArrived(second.link_out, frame[: 5 * 1024]), world.now))
    world.deliver()
    assert (slow.state, other.state) == (State.CLOSED, State.OPEN) and core.counts["circuits_shed"] == 1
    assert core.queued_cells == 21


def test_a_circuit_goes_on_over_rekeying_and_ends_when_its_keys_are_spent(make_world: Any) -> None:
    world = make_world(terms=Terms(rekey_every=3, most_cells=20))
    circuit = world.opened()
    world.send(circuit, hand_over_cells(world.entries["m"].node_id, TOKEN, bytes(GEOMETRY.sealed_clove(16))))
    assert world.relays["r2"].counts["cloves_handed_over"] == 1
    _backward_cells(world, 18)
    assert len(world.data[1]) == 18 or circuit.state is State.OPEN
    for _ in range(5):
        if circuit.state is State.OPEN:
            world.send(circuit, [encode_data(Command.MORE, b"x", GEOMETRY.forward_body)])
    assert circuit.state is State.CLOSED and world.open_circuits() == 0


def test_a_busy_relay_asks_for_work_and_takes_it(make_world: Any) -> None:
    world = make_world(limits=Limits(creates_burst_per_link=1, creates_per_second_per_link=1, puzzle_bits=6))
    world.opened(1)
    hops = [HopIdentity(world.entries[name].node_id, world.entries[name].onion_key) for name in ("r0", "r1", "r2")]
    told = _try(world, Circuit(hops, world.directory().name, 1, world.draw), ())
    assert told == (DestroyReason.BUSY, 6) and world.counts("r0") == {"dropped_unsolved_puzzle": 1}
    circuit = Circuit(hops, world.directory().name, 1, world.draw)
    solutions = [solve(question, 6, 0, 100_000) for question in circuit.puzzles]
    assert _try(world, circuit, solutions) is None and circuit.state is State.OPEN


def _try(world: Any, circuit: Circuit, solutions: Any) -> tuple[DestroyReason, int] | None:
    world.circuits[1], before = circuit, len(world.tapped)
    world.do("u", circuit.build(world.now, solutions))
    world.deliver()
    told = [raw for _, target, raw in world.tapped[before:] if target[0] == "u" and raw[8] == CellKind.DESTROY]
    return decode_destroy(told[0][9:]) if told else None


def test_a_proxy_whose_keys_are_spent_ends_the_circuit(make_world: Any) -> None:
    world = make_world(terms=Terms(rekey_every=2, most_cells=5))
    circuit = world.opened()
    _backward_cells(world, 5)
    assert len(world.data[1]) == 5 and circuit.state is State.OPEN
    world.send(circuit, hand_over_cells(b"z" * 20, TOKEN, b"clove"))
    assert circuit.state is State.CLOSED and world.counts("r2") == {"dropped_unknown_model_node": 1, "dropped_keys_spent": 1}
    assert world.open_circuits() == 0


def test_a_set_up_that_nobody_answers_is_not_kept(world: Any) -> None:
    world.tamper = lambda source, raw: [] if source[0] == "r1" else [raw]
    circuit = world.circuit()
    world.deliver()
    assert len(world.relays["r0"].circuits) == 1
    world.now += Limits().build_seconds
    world.do("r0", world.relays["r0"].expire(world.now))
    world.deliver()
    assert circuit.state is State.CLOSED and len(world.relays["r0"].circuits) == 0


def test_a_proxy_ends_a_circuit_when_too_many_replies_wait(make_world: Any) -> None:
    world = make_world(terms=SMALL, limits=Limits(proxy_reply_cells=3))
    world.inbox = SimpleNamespace(on_event=lambda event, now: [])
    circuit = world.opened()
    world.send(circuit, hand_over_cells(world.entries["m"].node_id, TOKEN, b"s" * 2000))
    world.tamper = _swallow_credit("r1")
    end = next(end for end in world.peers if end[0] == "m")
    for _ in range(8 + 3):
        world.inject(end, encode_handover(Handover.REPLY, TOKEN, bytes(GEOMETRY.reply_clove)))
    assert circuit.state is State.OPEN
    world.inject(end, encode_handover(Handover.REPLY, TOKEN, bytes(GEOMETRY.reply_clove)))
    assert circuit.state is State.CLOSED and world.counts("r2") == {"dropped_reply_overflow": 1}
    assert Handover.CANCEL in {decode_handover(raw)[0] for _, target, raw in world.tapped if target[0] == "m"}
