"""A simulated chain with its people: what one height of ordinary life is, and what must hold after it."""

import random
from collections.abc import Sequence

from abci_app.abci.pb import abci_pb2 as abci
from abci_app.state import invariants
from abci_app.state.app_hash import app_hash, leaf_hash, leaf_index, root_hash
from abci_app.tree import Tree
from evals.ledger.simulator.build import LocalProcess
from evals.ledger.simulator.committee import Conduct, SimulatedVerifier, committee, view
from evals.ledger.simulator.nodes import Public
from evals.ledger.simulator.parliament import Parliament
from evals.ledger.simulator.replica import Decided, Diverged, Replica
from evals.ledger.simulator.simulation import Simulation, Trouble
from evals.ledger.simulator.world import Genesis, Nonces, member
from network.chain_tx import Propose
from network.ids import node_id


class Town:
    """Replicas, verifiers and the public, all drawn from one generator."""

    def __init__(
        self,
        genesis: Genesis,
        sim: Simulation,
        draw: random.Random,
        *,
        people: int = 15,
        leaving: float = 0.03,
        conducts: Sequence[Conduct] = (),
    ) -> None:
        self.genesis = genesis
        self.draw = draw
        self.sim = sim
        self.public = Public(draw, people, leaving)
        models = self.public.models()
        self.cheats = frozenset(node_id(key.public) for key in models[::3])
        members = [member(number) for number in range(max(len(sim.replicas), len(genesis.members)))]
        given = [*conducts, *[Conduct.HONEST] * len(members)]
        nonces = Nonces()
        self.verifiers: list[SimulatedVerifier] = committee(zip(members, given, strict=False), models, self.cheats, nonces)
        self.parliament = Parliament(draw, members[: len(sim.replicas)], nonces)
        self.codes: dict[int, int] = {}
        self._snapshots: dict[int, tuple[bytes, bytes]] = {}

    def any_up(self) -> int | None:
        """A replica that the public can reach: one of the quorum's, else any that runs."""
        sim = self.sim
        reachable = sorted(sim.quorum() or [at for at, replica in enumerate(sim.replicas) if replica.up])
        return self.draw.choice(reachable) if reachable else None

    def live(self, txs: int = 3, trouble: Trouble | None = None) -> Decided | None:
        """One height: verifiers and public send what they have to, then a block is tried."""
        self.send(txs)
        block = self.sim.step(trouble)
        if block is not None and block.response:
            for result in abci.ResponseFinalizeBlock.FromString(block.response).tx_results:
                self.codes[result.code] = self.codes.get(result.code, 0) + 1
        return block

    def send(self, txs: int) -> None:
        """What everybody has to say before the next height."""
        at = self.any_up()
        if at is None:
            return
        replica = self.sim.replicas[at]
        if replica.stored:
            seen = view(replica.read, replica.stored)
            self.public.epoch, self.public.bits = seen.epoch.number, seen.params.registration_work
            for verifier in self.verifiers:
                for raw in verifier.act(seen):
                    self.sim.submit(raw, at)
            for raw in self.parliament.votes(seen):
                self.sim.submit(raw, at)
        for raw in self.public.some(txs):
            self.sim.submit(raw, at)

    def propose(self, kind: str) -> None:
        """A member puts something to the vote."""
        at = self.any_up()
        if at is not None and self.sim.replicas[at].stored:
            seen = view(self.sim.replicas[at].read, self.sim.replicas[at].stored)
            for raw in self.parliament.propose(seen, kind):
                self.sim.submit(raw, at)

    def put(self, body: Propose) -> int:
        """Put exactly this to the vote. Answers its CheckTx code."""
        replica = self.sim.replicas[0]
        return self.sim.submit(self.parliament.put(view(replica.read, replica.stored), body), 0)

    def everything_back(self) -> None:
        """Heal, start what is down, and decide two heights, so that all replicas stand at one."""
        self.sim.heal()
        for at, replica in enumerate(self.sim.replicas):
            if not replica.up:
                self.sim.start(at)
        for _ in range(2):
            if self.live(0) is None:
                raise Diverged("a healed chain decides nothing")

    def _check_snapshots(self, replica: Replica) -> None:
        """Snapshots of one height are the same bytes everywhere (F19)."""
        for height, digest, metadata in _offers(replica):
            if self._snapshots.setdefault(height, (digest, metadata)) != (digest, metadata):
                raise Diverged(f"{replica.name} has another snapshot of height {height} than the others")

    def _check_powers(self, replica: Replica) -> None:
        """The committee in the rows is the set that CometBFT will have once all updates have reached it."""
        process = replica.process
        if isinstance(process, LocalProcess) and process.store.height == self.sim.height > 0:
            rows = invariants.powers(process.store.version(self.sim.height))
            held = {one.key: one.power for one in self.sim.validators(self.sim.height + 2).members}
            if rows != held:
                raise Diverged(f"{replica.name}: the rows' committee is {rows}, CometBFT's set {held}")

    def check(self) -> None:
        """Nothing that a replica committed is lost, and all that stand at one height say the same of it. The rows of one
        replica, another at every height, are hashed anew by the definition."""
        for at, replica in enumerate(self.sim.replicas):
            if replica.up:
                check_height(replica, self.sim.chain)
                self._check_snapshots(replica)
                if at == self.sim.height % len(self.sim.replicas):
                    check_rows(replica)
                    self._check_powers(replica)


def _offers(replica: Replica) -> list[tuple[int, bytes, bytes]]:
    """Height, hash and metadata of the snapshots a replica offers."""
    found = replica.call("list_snapshots", abci.RequestListSnapshots()).snapshots
    return [(offer.height, offer.hash, offer.metadata) for offer in found]


def check_height(replica: Replica, chain: Sequence[Decided]) -> None:
    """The application stands at its node's height, with the chain's app hash."""
    info = replica.call("info", abci.RequestInfo())
    height = info.last_block_height
    if height != replica.stored:
        raise Diverged(f"{replica.name} committed {height} of {replica.stored} decided heights")
    if height and info.last_block_app_hash != chain[height - 1].app_hash:
        raise Diverged(f"{replica.name} has another app hash of height {height} than the chain")


def check_rows(replica: Replica) -> None:
    """The latest app hash is the definition's over the rows, and so is the tree's root; no invariant is broken."""
    process = replica.process
    if not isinstance(process, LocalProcess) or process.store.height == 0:
        return
    height = process.store.height
    version = process.store.version(height)
    leaves = sorted((leaf_index(key), leaf_hash(key, value)) for key, value in version.scan(b""))
    root = root_hash(leaves)
    if app_hash(root) != process.store.app_hash or Tree(version.nodes).root() != root:
        raise Diverged(f"{replica.name}: the app hash of height {height} is not that of its rows")
    broken = invariants.check(version)
    if broken:
        raise Diverged(f"{replica.name}: height {height} breaks {broken}")
