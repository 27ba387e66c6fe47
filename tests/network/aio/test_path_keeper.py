"""The path keeper over real relays: what is taken is nobody else's, and a lost circuit is replaced beside those that stand."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from network.aio.guard_store import GuardStore
from network.aio.path_keeper import REBUILDS, PathKeeper, ReadyPathSet
from network.directory_summary import summary_of
from network.errors import NoCircuits
from network.freshness import Rng
from network.geometry import GEOMETRY
from network.guards import GuardRules
from network.path_scores import Backoff

PATIENCE = 20.0


def _names(path_set: ReadyPathSet, hop: int) -> set[str]:
    return {circuit.relays[hop].name for circuit in path_set.circuits if circuit is not None}


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


def overlay_circuits(overlay: Any) -> int:
    """How many entries the tables of all live relays hold."""
    return sum(len(core.circuits) for _, core, _ in overlay.relays.values())


async def test_a_ready_set_that_loses_a_circuit_is_mended(overlay: Any) -> None:
    keeper = await _started(overlay, path_sets=1)
    assert await keeper.wait_ready(PATIENCE)
    before = {relay.address for relay in keeper.guards()}
    relays = {name: core.circuits for name, (_, core, _) in overlay.relays.items() if len(core.circuits)}
    guards = {entry.address: entry.name for entry in overlay.entries}
    proxy = next(name for name in relays if name not in {guards[address] for address in before})
    await overlay.kill_relay(proxy)
    async with asyncio.timeout(PATIENCE):
        hops = GEOMETRY.n * GEOMETRY.hops
        while keeper._ready[0].missing() or overlay_circuits(overlay) != hops:
            await asyncio.sleep(0.01)
    assert keeper.status().built == 1, "the same set, not another one"
    taken = await keeper.take()
    assert not taken.missing() and all(proxy not in _names(taken, hop) for hop in range(GEOMETRY.hops))
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


async def test_two_replacements_at_once_share_no_relay(overlay: Any) -> None:
    keeper = await _started(overlay, path_sets=1)
    taken = await keeper.take()
    first, second = await asyncio.gather(keeper.replace(taken, 0), keeper.replace(taken, 3))
    assert first is not None and second is not None
    families = [relay.family for circuit in taken.circuits if circuit is not None for relay in circuit.relays]
    assert len(families) == len(set(families)) == 12
    taken.close()


async def test_guards_stay_middles_and_proxies_do_not(overlay: Any) -> None:
    keeper = await _started(overlay)
    sets = [await keeper.take() for _ in range(4)]
    assert len({frozenset(_names(each, 0)) for each in sets}) == 1
    assert len({frozenset(_names(each, 1)) for each in sets}) > 1
    assert {guard.name for guard in keeper.guards()} == _names(sets[0], 0)
    for each in sets:
        each.close()
    assert keeper.status().guards_answering == keeper.status().guards_wanted == 4


async def test_guards_are_kept_over_a_restart(overlay: Any, tmp_path: Path) -> None:
    firsts = []
    for _ in range(2):
        keeper = await _started(overlay, guard_store=GuardStore(tmp_path / "guards.json", "test"))
        firsts.append(_names(await keeper.take(), 0))
        await keeper.close()
    assert firsts[0] == firsts[1]
    (tmp_path / "guards.json").unlink()
    others = []
    for number in range(4):
        keeper = await _started(overlay, guard_store=GuardStore(tmp_path / f"guards-{number}.json", "test"))
        others.append(_names(await keeper.take(), 0))
    assert any(each != firsts[0] for each in others), "without the file others are chosen"


async def test_guards_that_cannot_be_kept_cost_nothing_but_a_word(
    overlay: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = await _started(overlay, guard_store=GuardStore(tmp_path / "no such folder" / "guards.json", "test"))
    (await keeper.take()).close()
    assert "the guards cannot be kept" in caplog.text


async def test_two_guards_carry_two_paths_each(overlay: Any) -> None:
    keeper = await _started(overlay, guards=GuardRules(count=2))
    taken = await keeper.take()
    assert len(_names(taken, 0)) == 2 and len(_names(taken, 1) | _names(taken, 2)) == 8
    taken.close()


async def test_a_dead_guards_backup_stands_in_and_nobody_new_is_chosen(overlay: Any) -> None:
    keeper = await _started(overlay)
    taken = await keeper.take()
    sample = [guard.node_id for guard in keeper._chooser.guards.guards]
    lost = taken.circuits[0]
    assert lost is not None
    await overlay.kill_relay(lost.relays[0].name)
    async with asyncio.timeout(PATIENCE):
        while (fresh := await keeper.replace(taken, 0)) is None:
            await asyncio.sleep(0.05)
        assert fresh.relays[0].name != lost.relays[0].name and fresh.relays[0].node_id in sample
        while keeper.status().path_sets_ready < 2:
            await asyncio.sleep(0.02)
    assert [guard.node_id for guard in keeper._chooser.guards.guards] == sample
    taken.close()


class Counting(Backoff):
    """Counts pauses, and makes none."""

    pauses = 0

    def pause(self, rng: Rng) -> float:
        self.pauses += 1
        return 0.0


async def test_rebuilds_beyond_a_few_wait(overlay: Any) -> None:
    keeper = await _started(overlay, path_sets=1)
    taken = await keeper.take()
    taken.backoff = counting = Counting(0.1, 10.0)
    for _ in range(REBUILDS):
        assert await keeper.replace(taken, 1) is not None
    assert counting.pauses == 0
    assert await keeper.replace(taken, 1) is not None
    assert counting.pauses == 1
    taken.close()


async def test_each_circuit_is_counted_once_and_none_is_kept(overlay: Any) -> None:
    keeper = await _started(overlay, path_sets=1)
    taken = await keeper.take()
    circuit = taken.circuits[0]
    assert circuit is not None
    keeper.blame(circuit, "it stalls")
    keeper.worked(taken)
    keeper.worked(taken)
    scores = {guard.node_id: guard.score for guard in keeper._chooser.guards.guards}
    tries = {node: (score.use.tries, score.use.successes) for node, score in scores.items()}
    guards = [each.relays[0].node_id for each in taken.circuits if each is not None]
    assert [tries[guard] for guard in guards] == [(1, 0), (1, 1), (1, 1), (1, 1)]
    assert all(scores[guard].set_up.tries == scores[guard].set_up.successes == 1 for guard in guards)
    other = await keeper.take()
    other.close()
    taken.close()
    async with asyncio.timeout(PATIENCE):
        while len(keeper._outcomes) > GEOMETRY.n * keeper.status().path_sets_ready:
            await asyncio.sleep(0.02)


async def _checked(keeper: PathKeeper) -> None:
    for _ in range(8):  # each asks two guards of four, by chance
        await keeper._check.once()


async def test_a_fork_stops_building_until_it_is_over(overlay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("network.aio.path_keeper.TAKE_SECONDS", 0.3)
    keeper = await _started(overlay)
    assert await keeper.wait_ready(PATIENCE)
    for guard in keeper.guards():
        overlay.liars[guard.name] = replace(summary_of(overlay.directory()), hash=b"f" * 32)
    await _checked(keeper)
    assert keeper.status().path_sets_ready == 0
    with pytest.raises(NoCircuits, match="another directory of the same height"):
        await keeper.take()
    for name in list(overlay.liars):
        overlay.liars[name] = replace(overlay.liars[name], height=9)
    for height in range(10, 16):
        for name in overlay.liars:
            overlay.liars[name] = replace(overlay.liars[name], height=height)
        await _checked(keeper)
    assert await keeper.wait_ready(PATIENCE), "they have since named other heights"


async def test_a_guard_that_lies_about_the_directory_is_left_alone(overlay: Any) -> None:
    keeper = await _started(overlay)
    assert await keeper.wait_ready(PATIENCE)
    liar = keeper.guards()[1]
    overlay.liars[liar.name] = replace(summary_of(overlay.directory()), hash=b"f" * 32)
    await _checked(keeper)
    assert liar not in keeper.guards() and len(keeper.guards()) == 4
    assert await keeper.wait_ready(PATIENCE) and keeper.status().reason == ""


async def test_an_old_directory_is_said(overlay: Any) -> None:
    keeper = await _started(overlay)
    assert await keeper.wait_ready(PATIENCE)
    for guard in keeper.guards():
        overlay.liars[guard.name] = replace(summary_of(overlay.directory()), epoch=5, height=500)
    await _checked(keeper)
    assert keeper.status().directory_epochs_behind == 4


async def test_silent_relays_are_out_of_ready_and_new_path_sets(overlay: Any) -> None:
    skew = 0.0
    overlay.clock = lambda: time.time() + skew
    keeper = await _started(overlay, path_sets=1, clock=overlay.clock)
    await _until(lambda: keeper.status().gossip["heard"] == 16)
    guards = {guard.name for guard in keeper.guards()}
    overlay.hushed = set(sorted(overlay.relays.keys() - guards)[:3])
    skew = 11.0
    await _until(lambda: keeper.status().gossip["silent_relays"] == 3)
    for _ in range(3):
        taken = await keeper.take()
        assert not (_names(taken, 1) | _names(taken, 2)) & overlay.hushed
        taken.close()
    overlay.hushed = set()
    await _until(lambda: keeper.status().gossip["silent_relays"] == 0)


async def _until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(3 * PATIENCE):
        while not check():
            await asyncio.sleep(0.05)
