"""A chain of four under whatever Hypothesis thinks of: replicas agree, nothing committed is lost [APP-DET-1, APP-DUR-1].

Blocks of every kind of transaction, lost rounds, byzantine proposers, crashes at every point of a block, restarts,
partitions, wiped disks. Two replicas keep their state on disk, the others in memory; all must answer alike.
"""

import random
import shutil
import tempfile
from enum import Enum
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

from evals.ledger.simulator.build import Home, build, draw_powers, settle
from evals.ledger.simulator.byzantine import Forgery, forge
from evals.ledger.simulator.committee import Conduct
from evals.ledger.simulator.parliament import KINDS
from evals.ledger.simulator.replica import CrashPoint
from evals.ledger.simulator.simulation import Offence, Trouble
from evals.ledger.simulator.town import Town, check_height, check_rows
from evals.ledger.simulator.world import Genesis

REPLICAS = 5  # four validators and one that only follows
ON_DISK = (0, 4)
picks = st.integers(0, 59)
replica_numbers = st.integers(0, REPLICAS - 1)


class Return(Enum):
    """How a stopped replica comes back."""

    AS_IT_WAS = "with its data"
    WIPED = "without them: the application replays the chain from its genesis"
    OLD_COPY = "with an older copy of them: the application is behind its node"
    ROLLED_BACK = "one height back, application and node together"
    SYNCED = "without them, from a peer's snapshot"
    SYNCED_FROM_LIARS = "the same, and every chunk comes bent at first"


def one_of(numbers: list[int], pick: int) -> int:
    return numbers[pick % len(numbers)]


def bent(chunk: bytes) -> bytes:
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


class Replicas(RuleBasedStateMachine):
    """Rules are what happens to a chain; the invariant is asked after each."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="planetserve-simulated-"))

    @initialize(seed=st.integers(0, 2**32), liar=st.sampled_from(list(Conduct)))
    def begin(self, seed: int, liar: Conduct) -> None:
        draw = random.Random(seed)
        genesis = Genesis(draw_powers(draw))
        folders = [self.folder / f"r{at}" if at in ON_DISK else None for at in range(REPLICAS)]
        self.homes = [Home(folder, genesis.app_state()) for folder in folders]
        self.town = Town(genesis, settle(genesis, self.homes), draw, conducts=[Conduct.HONEST, liar])
        self.town.live(6)

    def running(self) -> list[int]:
        return [at for at, replica in enumerate(self.town.sim.replicas) if replica.up]

    def stopped(self) -> list[int]:
        return [at for at, replica in enumerate(self.town.sim.replicas) if not replica.up]

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

    @precondition(lambda self: len(self.stopped()) < 3)
    @rule(pick=picks, point=st.sampled_from(list(CrashPoint)))
    def crash_inside_a_block(self, pick: int, point: CrashPoint) -> None:
        self.town.live(2, Trouble(crashes={one_of(self.running(), pick): point}))

    @precondition(lambda self: len(self.stopped()) < 2)
    @rule(pick=picks, copied=st.booleans())
    def stop(self, pick: int, copied: bool) -> None:
        """A replica goes down, perhaps after a copy of its data has been put aside."""
        at = one_of(self.running(), pick)
        self.town.sim.replicas[at].stop()
        if copied and at in ON_DISK:
            self.homes[at].back_up()

    @precondition(lambda self: self.stopped())
    @rule(pick=picks, way=st.sampled_from(list(Return)))
    def come_back(self, pick: int, way: Return) -> None:
        self._come_back(one_of(self.stopped(), pick), way)

    @rule(at=st.sampled_from(ON_DISK), way=st.sampled_from(list(Return)), heights=st.integers(0, 9))
    def an_operator_at_work(self, at: int, way: Return, heights: int) -> None:
        """Stop, copy, go on a while, stop again, and come back in one of the ways."""
        if self.town.sim.replicas[at].up:
            self.town.sim.replicas[at].stop()
        if way is Return.OLD_COPY:
            self.homes[at].back_up()
            self.town.sim.start(at)
            for _ in range(heights):
                self.town.live(1)
            self.town.sim.replicas[at].stop()
        self._come_back(at, way)

    def _come_back(self, at: int, way: Return) -> None:
        sim, home = self.town.sim, self.homes[at]
        if way in (Return.WIPED, Return.SYNCED, Return.SYNCED_FROM_LIARS):
            sim.replicas[at].wipe()
        if way in (Return.SYNCED, Return.SYNCED_FROM_LIARS):
            if sim.state_sync(at, bent if way is Return.SYNCED_FROM_LIARS else None):
                return
        elif way is Return.OLD_COPY and at in ON_DISK:
            home.put_back()
        elif way is Return.ROLLED_BACK and at in ON_DISK:
            self._roll_back(at)
        sim.start(at)

    def _roll_back(self, at: int) -> None:
        """Application and node go back by one height together, and will decide it again alike."""
        replica, store = self.town.sim.replicas[at], self.homes[at].open()
        if store.height == replica.stored == replica.state and store.height - 1 >= max(1, store.oldest):
            replica.step_back(store.rollback())
        store.close()

    @rule(cut=st.sets(replica_numbers, max_size=2))
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
            for at in ON_DISK:
                store = self.homes[at].open()
                store.verify_all()
                store.close()
        shutil.rmtree(self.folder)


CALM = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]

TestReplicasAgree = Replicas.TestCase
TestReplicasAgree.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, derandomize=True, suppress_health_check=CALM
)


@pytest.mark.slow
def test_replicas_agree_through_longer_and_stranger_lives() -> None:
    """Other lives at every run; a failure is kept in `.hypothesis` and tried first at the next."""
    run_state_machine_as_test(
        Replicas, settings=settings(max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=CALM)
    )
