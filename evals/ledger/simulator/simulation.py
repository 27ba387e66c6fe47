"""A chain of N replicas, one height at a time: proposer rotation, rounds, partitions, crashes, replays, evidence.

What is simulated is CometBFT, from its source: who proposes, who must accept, what a node does with a decided block and on
a restart. The applications are real. Nothing here draws a random number or looks at a clock: the caller decides, so a
run is a function of its seed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from abci_app.abci.pb import abci_pb2 as abci
from abci_app.abci.pb import types_pb2 as types
from evals.ledger.simulator.replica import CrashPoint, Decided, Diverged, Replica
from evals.ledger.simulator.sync import Tamper, state_sync
from evals.ledger.simulator.validators import ValidatorSet, first_set
from evals.ledger.simulator.world import CHAIN_ID, GENESIS_TIME, MAX_BLOCK_BYTES
from network.codec import encode_varint
from network.crypto import sha256

MAX_ROUNDS = 12
ACCEPT = 1
ABSENT, COMMIT, NIL = 1, 2, 3

_GONE = (Decided(abci.RequestFinalizeBlock()), ValidatorSet((), b""))

# Makes a byzantine proposal of an honest one; the mempool of the proposer is its second argument.
Forge = Callable[[list[bytes], list[bytes]], list[bytes]]


@dataclass
class Trouble:
    """What goes wrong at one height. Rounds fail by losing the votes of the first `lost_rounds` proposals."""

    lost_rounds: int = 0
    forge: Forge | None = None  # what the first round's proposer makes of its block
    crashes: dict[int, CrashPoint] = field(default_factory=dict)
    silent: frozenset[int] = frozenset()  # replicas whose votes are missing from the commit, though they follow


@dataclass
class Offence:
    """Evidence that CometBFT's evidence pool holds."""

    address: bytes
    height: int
    kind: int = 1


class Simulation:
    """Replicas, the blocks they decided, and who can talk to whom. `replicas[i]` validates with the key `keys[i]`."""

    def __init__(self, replicas: Sequence[Replica], keys: Sequence[bytes], powers: Sequence[tuple[bytes, int]]) -> None:
        self.replicas = list(replicas)
        self.keys = list(keys)
        self.chain: list[Decided] = []
        self.offences: list[Offence] = []
        self.groups: list[frozenset[int]] = [frozenset(range(len(replicas)))]
        self._sets = [first_set(powers)]
        self._sets.append(self._sets[0].rotated())
        self._forgotten = 0
        self._size, self._is_counted = MAX_BLOCK_BYTES, True
        for replica in self.replicas:
            replica.start(self.chain)

    @property
    def height(self) -> int:
        """The latest decided height."""
        return len(self.chain)

    def validators(self, height: int) -> ValidatorSet:
        """The set that decides this height: updates made at H are active at H + 2. Raises IllegalUpdate."""
        while len(self._sets) < height:
            answer = abci.ResponseFinalizeBlock.FromString(self.chain[len(self._sets) - 2].response)
            updates = [(update.pub_key.ed25519, update.power) for update in answer.validator_updates]
            self._sets.append(self._sets[-1].updated(updates).rotated())
        return self._sets[height - 1]

    def quorum(self) -> frozenset[int] | None:
        """The connected running replicas that hold more than 2/3 of the next height's power, if any do."""
        held = self.validators(self.height + 1)
        powers = held.powers()
        for group in self.groups:
            running = frozenset(at for at in group if self.replicas[at].up)
            if 3 * sum(powers.get(self.address(at), 0) for at in running) > 2 * held.total:
                return running
        return None

    def _block_bytes(self) -> int:
        """The block size that the next height goes by: what FinalizeBlock changed of it counts from then on."""
        if self.chain and not self._is_counted:
            update = abci.ResponseFinalizeBlock.FromString(self.chain[-1].response).consensus_param_updates
            self._size = update.block.max_bytes or self._size
            self._is_counted = True
        return self._size

    def forget(self, keep: int) -> None:
        """Let go of all but the latest blocks and sets, in a run so long that they would fill this process's memory. What
        has fallen behind, or lost its disk, cannot be brought back after that."""
        for at in range(self._forgotten, self.height - keep):
            self.chain[at], self._sets[at] = _GONE
            self._forgotten = at + 1

    def address(self, at: int) -> bytes:
        """The validator address of a replica."""
        return sha256(self.keys[at])[:20]

    def partition(self, groups: Iterable[Iterable[int]]) -> None:
        """Only replicas of one group hear each other from now on."""
        self.groups = [frozenset(group) for group in groups]
        assert sorted(at for group in self.groups for at in group) == list(range(len(self.replicas)))

    def heal(self) -> None:
        """Everybody hears everybody."""
        self.groups = [frozenset(range(len(self.replicas)))]

    def submit(self, raw: bytes, at: int) -> int:
        """A client hands a transaction to one replica, which gossips what it accepts. Answers its CheckTx code."""
        code = self.replicas[at].submit(raw)
        if code == 0:
            group = next(group for group in self.groups if at in group)
            for other in sorted(group - {at}):
                if self.replicas[other].up:
                    self.replicas[other].submit(raw)
        return code

    def start(self, at: int) -> None:
        """A stopped replica comes back, replays what its node has, and follows the others if it hears them."""
        self.replicas[at].start(self.chain)
        self.catch_up()

    def state_sync(self, at: int, tamper: Tamper | None = None) -> bool:
        """A wiped replica comes back by a snapshot of somebody it hears, then follows; False when nobody has one."""
        group = next(group for group in self.groups if at in group)
        peers = [self.replicas[other] for other in sorted(group) if self.replicas[other].up]
        synced = state_sync(self.replicas[at], peers, self.chain, tamper)
        if synced:
            self.catch_up()
        return synced

    def catch_up(self) -> None:
        """Block sync: every running replica applies what somebody in its group has stored."""
        for group in self.groups:
            running = [self.replicas[at] for at in sorted(group) if self.replicas[at].up]
            tallest = max((self.replicas[at].stored for at in group if self.replicas[at].up), default=0)
            for replica in running:
                while replica.up and replica.stored < tallest:
                    replica.decide(self.chain[replica.stored])

    def step(self, trouble: Trouble | None = None) -> Decided | None:
        """Try to decide one more height. None when no group has the power for it; then nothing but proposals happened."""
        trouble = trouble or Trouble()
        self.catch_up()
        height = self.height + 1
        group = self.quorum()
        for minority in self.groups:
            if group is None or not group & minority:
                self._propose_in_vain(minority, height)
        if group is None:
            return None
        for number in range(MAX_ROUNDS):
            block = self._round(height, number, group, trouble)
            if block is not None:
                self.chain.append(block)
                self._is_counted = False
                for at in sorted(group):
                    self.replicas[at].decide(block, trouble.crashes.get(at))
                carried = {(found.validator.address, found.height, found.type) for found in block.request.misbehavior}
                self.offences = [one for one in self.offences if (one.address, one.height, one.kind) not in carried]
                return block
        raise Diverged(f"height {height}: no proposal was accepted in {MAX_ROUNDS} rounds")

    def _round(self, height: int, number: int, group: frozenset[int], trouble: Trouble) -> Decided | None:
        """One proposal and its votes; the decided block, or None when the round fails."""
        held = self.validators(height)
        proposer = held.rotated(number).proposer if number else held.proposer
        leader = next((at for at in sorted(group) if self.address(at) == proposer), None)
        if leader is None:
            return None  # the proposer is down or elsewhere: the round times out
        finalize = self._block(height, number, proposer, trouble)
        txs = self._prepare(leader, finalize)
        if number == 0 and trouble.forge is not None:
            txs = trouble.forge(txs, list(self.replicas[leader].pool))
        finalize.txs.extend(txs)
        finalize.hash = _block_hash(finalize)
        verdicts = {at: self._accepts(at, finalize) for at in sorted(group)}
        if len(set(verdicts.values())) > 1:
            raise Diverged(f"height {height}: ProcessProposal of the same block differs: {verdicts}")
        agreed = all(verdicts.values())
        if not agreed and not (number == 0 and trouble.forge is not None):
            raise Diverged(f"height {height}: a proposal that PrepareProposal made was refused [APP-PROP-1]")
        return Decided(finalize) if agreed and number >= trouble.lost_rounds else None

    def _block(self, height: int, number: int, proposer: bytes, trouble: Trouble) -> abci.RequestFinalizeBlock:
        block = abci.RequestFinalizeBlock(height=height, proposer_address=proposer)
        block.next_validators_hash = self.validators(height + 1).hash
        block.time.seconds = GENESIS_TIME + height
        if height > 1:
            absent = {self.address(at) for at in trouble.silent}
            absent |= {self.address(at) for at, replica in enumerate(self.replicas) if replica.stored < height - 1}
            block.decided_last_commit.CopyFrom(_commit(self.validators(height - 1), number % 3, absent))
        for offence in self.offences:
            block.misbehavior.append(self._misbehavior(offence))
        return block

    def _misbehavior(self, offence: Offence) -> types.Misbehavior:
        held = self.validators(offence.height)
        found = types.Misbehavior(type=offence.kind, height=offence.height, total_voting_power=held.total)
        found.validator.address = offence.address
        found.validator.power = held.powers()[offence.address]
        found.time.seconds = GENESIS_TIME + offence.height
        return found

    def _prepare(self, leader: int, block: abci.RequestFinalizeBlock) -> list[bytes]:
        request = abci.RequestPrepareProposal(
            max_tx_bytes=self._block_bytes(),
            txs=list(self.replicas[leader].pool),
            misbehavior=block.misbehavior,
            height=block.height,
            time=block.time,
            next_validators_hash=block.next_validators_hash,
            proposer_address=block.proposer_address,
        )
        request.local_last_commit.round = block.decided_last_commit.round
        for vote in block.decided_last_commit.votes:
            request.local_last_commit.votes.add(validator=vote.validator, block_id_flag=vote.block_id_flag)
        answer = self.replicas[leader].call("prepare_proposal", request)
        if sum(len(raw) + 1 + len(encode_varint(len(raw))) for raw in answer.txs) > request.max_tx_bytes:
            raise Diverged(f"height {block.height}: PrepareProposal exceeds max_tx_bytes")
        return list(answer.txs)

    def _accepts(self, at: int, block: abci.RequestFinalizeBlock) -> bool:
        request = abci.RequestProcessProposal(
            txs=block.txs,
            proposed_last_commit=block.decided_last_commit,
            misbehavior=block.misbehavior,
            hash=block.hash,
            height=block.height,
            time=block.time,
            next_validators_hash=block.next_validators_hash,
            proposer_address=block.proposer_address,
        )
        return bool(self.replicas[at].call("process_proposal", request).status == ACCEPT)

    def _propose_in_vain(self, group: frozenset[int], height: int) -> None:
        """A group without the power still proposes; its applications see blocks that are never decided."""
        running = [at for at in sorted(group) if self.replicas[at].up and self.replicas[at].stored == height - 1]
        held = self.validators(height)
        leader = next((at for at in running if self.address(at) == held.proposer), None)
        if leader is None:
            return
        block = self._block(height, 0, held.proposer, Trouble())
        block.txs.extend(self._prepare(leader, block))
        block.hash = sha256(_block_hash(block), b"in vain")
        for at in running:
            self._accepts(at, block)


def _commit(held: ValidatorSet, number: int, absent: set[bytes]) -> types.CommitInfo:
    """Who signed the block before, in CometBFT's order. Flags only: the signatures are CometBFT's to check."""
    commit = types.CommitInfo(round=number)
    for validator in held.ordered():
        vote = commit.votes.add(block_id_flag=ABSENT if validator.address in absent else COMMIT)
        vote.validator.address, vote.validator.power = validator.address, validator.power
    return commit


def _block_hash(block: abci.RequestFinalizeBlock) -> bytes:
    parts = [CHAIN_ID.encode(), block.height.to_bytes(8, "big"), block.proposer_address, block.next_validators_hash]
    parts += [found.SerializeToString(deterministic=True) for found in block.misbehavior]
    parts += [block.decided_last_commit.SerializeToString(deterministic=True)]
    return sha256(*parts, *(sha256(raw) for raw in block.txs))
