"""A chain of four under whatever Hypothesis thinks of: replicas agree, nothing committed is lost [APP-DET-1, APP-DUR-1].

Blocks of every kind of transaction, lost rounds, byzantine proposers, crashes at every point of a block, restarts,
partitions, wiped disks. Two replicas keep their state on disk, the others in memory; all must answer alike.
"""

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from evals.ledger.simulator.build import build, draw_powers
from evals.ledger.simulator.byzantine import Forgery, forge
from evals.ledger.simulator.committee import Conduct
from evals.ledger.simulator.parliament import KINDS
from evals.ledger.simulator.replica import CrashPoint
from evals.ledger.simulator.simulation import Offence, Trouble
from evals.ledger.simulator.town import Town, check_height, check_rows
from evals.ledger.simulator.world import Genesis

REPLICAS = 5  # four validators and one that only follows
replica_numbers = st.integers(0, REPLICAS - 1)


class Replicas(RuleBasedStateMachine):
    """Rules are what happens to a chain; the invariant is asked after each."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="planetserve-simulated-"))

    @initialize(seed=st.integers(0, 2**32), liar=st.sampled_from(list(Conduct)))
    def begin(self, seed: int, liar: Conduct) -> None:
        draw = random.Random(seed)
        folders = [self.folder / "r0", None, None, None, self.folder / "r4"]
        genesis = Genesis(draw_powers(draw))
        self.town = Town(genesis, build(genesis, folders), draw, conducts=[Conduct.HONEST, liar])
        self.town.live(6)

    @rule(txs=st.integers(0, 5), lost=st.integers(0, 2))
    def block(self, txs: int, lost: int) -> None:
        self.town.live(txs, Trouble(lost_rounds=lost))

    @rule(heights=st.integers(4, 14))
    def some_time(self, heights: int) -> None:
        """Enough for epochs to end."""
        for _ in range(heights):
            self.town.live(1)

    @rule(kind=st.sampled_from(list(Forgery)))
    def byzantine_proposal(self, kind: Forgery) -> None:
        committed = [raw for block in self.town.sim.chain[-20:] for raw in block.request.txs]
        self.town.live(2, Trouble(forge=forge(kind, self.town.draw, committed)))

    @rule(kind=st.sampled_from(KINDS))
    def politics(self, kind: str) -> None:
        """A proposal, and enough blocks to vote on it."""
        self.town.propose(kind)
        self.town.live(1)
        self.town.live(1)

    @rule(at=replica_numbers, back=st.integers(0, 5), kind=st.integers(1, 2))
    def double_sign(self, at: int, back: int, kind: int) -> None:
        """Evidence against whoever was a validator then, perhaps of the same act again; an honest proposer includes it."""
        sim = self.town.sim
        height = max(1, sim.height - back)
        if sim.address(at) in sim.validators(height).powers():
            sim.offences.append(Offence(sim.address(at), height, kind))
        self.town.live(1)

    @rule(at=replica_numbers, point=st.sampled_from(list(CrashPoint)))
    def crash_inside_a_block(self, at: int, point: CrashPoint) -> None:
        if self.town.sim.replicas[at].up:
            self.town.live(2, Trouble(crashes={at: point}))

    @rule(at=replica_numbers)
    def stop(self, at: int) -> None:
        if self.town.sim.replicas[at].up:
            self.town.sim.replicas[at].stop()

    @rule(at=replica_numbers)
    def start(self, at: int) -> None:
        if not self.town.sim.replicas[at].up:
            self.town.sim.start(at)

    @rule(at=replica_numbers)
    def lose_the_disk(self, at: int) -> None:
        """The application replays the chain from its genesis."""
        replica = self.town.sim.replicas[at]
        if not replica.up:
            replica.wipe()
            self.town.sim.start(at)

    @rule(at=replica_numbers, bent=st.booleans())
    def state_sync(self, at: int, bent: bool) -> None:
        """A lost disk filled from a peer's snapshot, each of whose chunks may come bent at first."""
        replica = self.town.sim.replicas[at]
        if not replica.up:
            replica.wipe()
            if not self.town.sim.state_sync(at, (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])) if bent else None):
                self.town.sim.start(at)

    @rule(cut=st.sets(replica_numbers, max_size=3))
    def partition(self, cut: set[int]) -> None:
        self.town.sim.partition([cut, set(range(REPLICAS)) - cut])

    @precondition(lambda self: len(self.town.sim.groups) > 1)
    @rule()
    def heal(self) -> None:
        self.town.sim.heal()
        self.town.sim.catch_up()

    @invariant()
    def replicas_agree(self) -> None:
        if hasattr(self, "town"):
            self.town.check()

    def teardown(self) -> None:
        """All come together again, and one that was never there reaches the same hash from the blocks alone."""
        if hasattr(self, "town"):
            self.town.everything_back()
            self.town.check()
            late = build(self.town.genesis, [None]).replicas[0]
            for block in self.town.sim.chain:
                late.decide(block)
            check_height(late, self.town.sim.chain)
            check_rows(late)
            for replica in self.town.sim.replicas:
                replica.stop()
        shutil.rmtree(self.folder)


CALM = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]

TestReplicasAgree = Replicas.TestCase
TestReplicasAgree.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, derandomize=True, suppress_health_check=CALM
)


@pytest.mark.slow
def test_replicas_agree_through_longer_and_stranger_lives() -> None:
    """Other lives at every run; a failure is kept in `.hypothesis` and tried first at the next."""
    run_state_machine_as_test(
        Replicas, settings=settings(max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=CALM)
    )
