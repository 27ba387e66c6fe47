"""The simulator does what it says: who decides, who waits, who comes back how, and what it calls a divergence."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from abci_app.abci.pb import abci_pb2 as abci
from evals.ledger.simulator.build import LocalProcess, build
from evals.ledger.simulator.byzantine import Forgery, forge
from evals.ledger.simulator.replica import CrashPoint, Diverged
from evals.ledger.simulator.simulation import Trouble
from evals.ledger.simulator.sync import INTERVAL
from evals.ledger.simulator.town import Town, check_height, check_rows
from evals.ledger.simulator.world import Genesis


def town(folders: list[Path | None] | None = None, seed: int = 1, powers: tuple[int, ...] = (10, 10, 10, 10)) -> Town:
    genesis = Genesis(powers)
    return Town(genesis, build(genesis, folders or [None] * 4), random.Random(seed))


def lives(one: Town, heights: int) -> None:
    for _ in range(heights):
        assert one.live(2) is not None


def test_proposers_take_turns_and_epochs_end() -> None:
    one = town()
    lives(one, 26)
    proposers = [block.request.proposer_address for block in one.sim.chain]
    assert len(set(proposers[:4])) == 4 and proposers[:4] == proposers[4:8]
    events = [event.type for block in one.sim.chain for event in abci.ResponseFinalizeBlock.FromString(block.response).events]
    assert events.count("epoch_ended") == 2
    assert one.codes[0] > 40


def test_two_of_four_decide_nothing_and_lose_nothing() -> None:
    one = town()
    lives(one, 3)
    one.sim.partition([{0, 1}, {2, 3}])
    assert one.live(2) is None and one.sim.height == 3
    one.sim.heal()
    lives(one, 2)
    one.check()
    assert [replica.stored for replica in one.sim.replicas] == [5] * 4


def test_a_minority_follows_when_the_cut_heals() -> None:
    one = town()
    one.sim.partition([{3}, {0, 1, 2}])
    lives(one, 6)
    assert one.sim.replicas[3].stored == 0
    one.sim.heal()
    lives(one, 1)
    one.check()
    assert one.sim.replicas[3].stored == 7


@pytest.mark.parametrize("point", list(CrashPoint))
def test_every_crash_point_is_replayed_by_the_table_of_the_handshake(point: CrashPoint, tmp_path: Path) -> None:
    one = town([tmp_path / "r0", None, None, None])
    lives(one, 5)
    assert one.live(2, Trouble(crashes={0: point, 1: point})) is None or one.sim.height == 6
    for at in (0, 1):
        replica = one.sim.replicas[at]
        assert (replica.up, replica.stored, replica.state) == (False, 6, 5)
        one.sim.start(at)
        check_height(replica, one.sim.chain)
        check_rows(replica)
    lives(one, 2)


@pytest.mark.parametrize("kind", list(Forgery))
def test_byzantine_proposals_cost_a_round_or_a_code(kind: Forgery) -> None:
    one = town()
    lives(one, 6)
    committed = [raw for block in one.sim.chain for raw in block.request.txs]
    block = one.live(3, Trouble(forge=forge(kind, one.draw, committed)))
    assert block is not None
    refused = kind in (Forgery.UNDECODABLE, Forgery.OVERSIZE, Forgery.FORGED, Forgery.FLOODED)
    if kind is not Forgery.FLOODED:
        honest = one.sim.validators(7).proposer != block.request.proposer_address
        assert honest == refused
    one.check()


@pytest.mark.parametrize("on_disk", [False, True])
def test_state_sync_by_many_chunks(on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abci_app.snapshot.CHUNK_TARGET", 500)
    one = town([None, None, None, None, tmp_path / "r4" if on_disk else None])
    lives(one, INTERVAL + 2)
    late = one.sim.replicas[4]
    late.stop()
    late.wipe()
    assert one.sim.state_sync(4, lambda raw: raw[::-1])
    lives(one, 2)
    one.check()
    check_rows(late)
    process = late.process
    assert isinstance(process, LocalProcess)
    assert process.store.height == INTERVAL + 4 and process.store.oldest >= INTERVAL, "it did not replay"
    offers = one.sim.replicas[0].call("list_snapshots", abci.RequestListSnapshots()).snapshots
    assert offers[0].chunks > 5


def test_without_snapshots_state_sync_says_so() -> None:
    one = town()
    lives(one, 3)
    one.sim.replicas[2].stop()
    one.sim.replicas[2].wipe()
    assert not one.sim.state_sync(2)


def _other_app_hash(answer: abci.ResponseFinalizeBlock) -> None:
    answer.app_hash = bytes(32)


def _other_code(answer: abci.ResponseFinalizeBlock) -> None:
    answer.tx_results[0].code += 1


@pytest.mark.parametrize("bend", [_other_app_hash, _other_code])
def test_a_replica_that_says_something_else_is_found(bend: Callable[[abci.ResponseFinalizeBlock], None]) -> None:
    one = town()
    lives(one, 2)
    replica = one.sim.replicas[3]
    honest = replica.process.ask

    def ask(kind: object, raw: bytes) -> bytes:
        response = abci.Response.FromString(honest(kind, raw))  # type: ignore[arg-type]
        if response.HasField("finalize_block") and response.finalize_block.tx_results:
            bend(response.finalize_block)
        return response.SerializeToString()

    replica.process.ask = ask  # type: ignore[method-assign]
    with pytest.raises(Diverged, match="r3"):
        lives(one, 3)
