"""The path keeper over real relays: what is taken is nobody else's, and a lost circuit is replaced beside those that stand."""

import asyncio
from typing import Any

from network.aio.path_keeper import PathKeeper

PATIENCE = 20.0


async def _started(overlay: Any, **options: Any) -> PathKeeper:
    keeper = PathKeeper(overlay.directory, overlay.draw, **options)
    await keeper.start()
    overlay.closers.insert(0, keeper.close)
    return keeper


async def test_a_taken_set_is_nobody_elses_and_another_is_built(overlay: Any) -> None:
    keeper = await _started(overlay, path_sets=1)
    first, second = await keeper.take(), await keeper.take()
    assert first is not second and all(circuit is not None and circuit.is_open for circuit in first.circuits + second.circuits)
    first.close()
    second.close()


async def test_a_replacement_stands_beside_the_others(overlay: Any) -> None:
    keeper = await _started(overlay, path_sets=1)
    taken = await keeper.take()
    before = taken.circuits[1]
    assert before is not None
    fresh = await keeper.replace(taken, 1)
    assert fresh is not None and fresh is taken.circuits[1] and fresh.is_open and not before.is_open
    families = [relay.family for circuit in taken.circuits if circuit is not None for relay in circuit.relays]
    assert len(set(families)) == 12
    taken.close()


async def test_a_set_closed_while_a_replacement_is_built_leaves_no_circuit(overlay: Any) -> None:
    keeper = await _started(overlay, path_sets=0)
    taken = await keeper.take()
    building = asyncio.create_task(keeper.replace(taken, 0))
    await asyncio.sleep(0)
    taken.close()
    assert await building is None
    async with asyncio.timeout(PATIENCE):
        while keeper.status().circuits_open:
            await asyncio.sleep(0.02)
