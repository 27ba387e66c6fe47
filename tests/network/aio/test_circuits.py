"""The pool of circuits on real links: one link per first relay, ends that are reported, nothing kept."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from network.aio.circuits import CircuitPool, OpenCircuit


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
