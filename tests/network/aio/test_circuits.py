"""The pool of circuits on real links: one link per first relay, ends that are reported, nothing kept."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from network.aio.circuits import CircuitPool, OpenCircuit
from network.cell import CloseReason, Command, decode_data, hand_over_cells
from network.chain_records import DirectoryRecord
from network.directory import Directory
from network.geometry import GEOMETRY
from network.rates import Allowance
from relay.limits import Limits


@pytest.fixture
async def pool(overlay: Any) -> Any:
    built = CircuitPool(overlay.draw, time.time, overlay.directory)
    overlay.closers.insert(0, built.close)
    return built


def _path(overlay: Any, *numbers: int) -> list[Any]:
    return [next(e for e in overlay.entries if e.name == f"relay-{number:02d}") for number in numbers]


async def _settled(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_circuits_share_the_link_to_their_first_relay(overlay: Any, pool: Any) -> None:
    lost: list[OpenCircuit] = []
    one = await pool.build(_path(overlay, 0, 1, 2), lost.append)
    two = await pool.build(_path(overlay, 0, 3, 4), lost.append)
    assert one.is_open and two.is_open and one.link == two.link and one.link_id != two.link_id
    assert pool.open_circuits == 2
    ended: list[bool] = []
    one.attach(lambda data: None, lambda: ended.append(True))
    await overlay.kill_relay("relay-02")
    await _settled(lambda: ended == [True])
    assert lost == [one] and not one.is_open and two.is_open
    one.send(b"")
    two.close()
    assert lost == [one] and pool.open_circuits == 0
    await _settled(lambda: not len(overlay.relays["relay-00"][1].circuits))


async def test_a_relay_that_is_gone_is_no_circuit(overlay: Any, pool: Any) -> None:
    path = _path(overlay, 0, 1, 2)
    await overlay.kill_relay("relay-00")
    assert await pool.build(path, lambda circuit: None) is None
    assert pool.open_circuits == 0


@pytest.mark.parametrize("change", [{"onion_key": bytes(32)}, {"address": "no address"}, {"address": "evil/path:80"}])
async def test_a_relay_with_a_useless_key_or_address_is_no_circuit(overlay: Any, pool: Any, change: dict[str, Any]) -> None:
    path = _path(overlay, 0, 1, 2)
    path[0] = replace(path[0], **change)
    assert await pool.build(path, lambda circuit: None) is None


async def test_a_retired_link_keeps_its_circuits_and_the_next_one_is_dialled_anew(
    overlay: Any, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("network.aio.circuits.LINGER_SECONDS", 0.01)
    lost: list[OpenCircuit] = []
    old = await pool.build(_path(overlay, 0, 1, 2), lost.append)
    guard = old.relays[0]
    assert pool.is_linked(guard)
    pool.retire(guard)
    assert not pool.is_linked(guard) and old.is_open
    new = await pool.build(_path(overlay, 0, 3, 4), lost.append)
    assert new.link != old.link and pool.is_linked(guard) and old.is_open
    old.close()
    await _settled(lambda: len(pool._links) == 1)
    assert new.is_open and lost == []
    pool.retire_unused([])
    assert pool.is_linked(guard), "it carries a circuit"
    new.close()
    pool.retire_unused([guard])
    assert pool.is_linked(guard), "it is to be kept"
    pool.retire_unused([])
    await _settled(lambda: not pool._links)
    assert lost == []


async def test_whether_a_link_could_be_opened_is_told(overlay: Any, pool: Any) -> None:
    here, gone = _path(overlay, 0, 1)
    await overlay.kill_relay("relay-01")
    assert await pool.connect(here) and pool.is_linked(here)
    assert not await pool.connect(gone) and not pool.is_linked(gone)


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a link may bring without work does not grow back, however slow the machine is."""
    take = Allowance.take
    monkeypatch.setattr(Allowance, "take", lambda allowance, now: take(allowance, 0.0))


async def test_a_busy_relay_has_its_puzzle_solved(overlay: Any, pool: Any, no_time_passes: None) -> None:
    hurried = Limits(creates_burst_per_link=1, creates_per_second_per_link=1, puzzle_bits=8)
    await overlay.add_relay(16, limits=hurried)
    for _ in range(2):
        assert await pool.build(_path(overlay, 16, 1, 2), lambda circuit: None) is not None
    assert await pool.build(_path(overlay, 3, 16, 2), lambda circuit: None) is not None, "its link is new: the first is free"
    assert await pool.build(_path(overlay, 3, 16, 4), lambda circuit: None) is not None, "a middle relay's word comes through"
    assert overlay.relays["relay-16"][1].counts["dropped_unsolved_puzzle"] == 2
    assert overlay.relays["relay-16"][1].counts["circuits"] == 4


async def test_a_relay_that_asks_for_too_much_work_is_no_circuit(overlay: Any) -> None:
    pool = CircuitPool(overlay.draw, time.time, overlay.directory, most_bits=15)
    overlay.closers.insert(0, pool.close)
    greedy = Limits(creates_burst_per_link=1, creates_per_second_per_link=1, puzzle_bits=16)
    await overlay.add_relay(16, limits=greedy)
    assert await pool.build(_path(overlay, 16, 1, 2), lambda circuit: None) is not None
    assert await pool.build(_path(overlay, 16, 1, 2), lambda circuit: None) is None


async def test_a_relay_that_knows_only_the_newest_directory_is_asked_again_under_it(overlay: Any) -> None:
    newest, forgotten = overlay.directory(), Directory(DirectoryRecord("test", 0, 1), 1)
    ours = Directory(newest.record, 2, forgotten, time.time())
    assert ours.settled_name(time.time()) == forgotten.name
    pool = CircuitPool(overlay.draw, time.time, lambda: ours)
    overlay.closers.insert(0, pool.close)
    assert await pool.build(_path(overlay, 0, 1, 2), lambda circuit: None) is not None
    assert overlay.relays["relay-00"][1].counts["dropped_foreign_directory"] == 1


async def test_a_user_with_a_directory_of_somebody_elses_making_opens_nothing(overlay: Any) -> None:
    fed = Directory(DirectoryRecord("test", 9, 9, b"", overlay.directory().record.entries), 9)
    pool = CircuitPool(overlay.draw, time.time, lambda: fed)
    overlay.closers.insert(0, pool.close)
    assert await pool.build(_path(overlay, 0, 1, 2), lambda circuit: None) is None


async def test_more_cells_than_any_window_cross_real_links_both_ways(overlay: Any, pool: Any) -> None:
    """A clove of 256 cells up; then refused by a proxy that knows no such model node, which is one cell down."""
    circuit = await pool.build(_path(overlay, 0, 1, 2), lambda circuit: None)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    circuit.attach(heard.put_nowait, lambda: None)
    for data in hand_over_cells(b"z" * 20, b"t" * 16, bytes(GEOMETRY.max_clove)):
        circuit.send(data)
    async with asyncio.timeout(20):
        assert decode_data(await heard.get()) == (Command.CLOSED, bytes((CloseReason.UNREACHABLE,)))
    assert all(core.queued_cells == 0 for _, core, _ in overlay.relays.values())
