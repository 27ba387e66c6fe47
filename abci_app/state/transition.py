"""The state transition: what one decided block does to the state. Depends on nothing but the state and the block.

Order: upgrade, misbehavior and the epoch's first-block hook; each transaction in a fork of its own; the epoch's last-block
hook, governance, the directory. A transaction that fails changes nothing but its signer's account, and that only if it was
admitted and its signer known. The hooks must not fail; a bug in them ends the process, on every replica at the same block,
before anything is written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from abci_app.state import admission, changes, committee, directory, epoch, governance, misbehavior, upgrade
from abci_app.state.app_hash import leaf_index
from abci_app.state.challenge import running_epoch
from abci_app.state.context import BlockContext, ConsensusChange, Event, Handler, ValidatorUpdate
from abci_app.state.envelope import Fault, OpenedTx, decode_body, open_envelope
from abci_app.state.errors import CODESPACE, KEY_COLLISION, REGISTRATIONS_FULL, TxError
from abci_app.state.state import State
from abci_app.state.txs import (
    commit_challenges,
    commit_scores,
    open_challenges,
    propose,
    prove_vrf,
    publish_transcripts,
    register_node,
    retire_node,
    reveal_scores,
    update_node,
    vote,
)
from network.chain_records import account_key
from network.chain_tx import TxKind
from network.codec import Message

HANDLERS: dict[TxKind, Handler] = {
    TxKind.REGISTER_NODE: register_node,
    TxKind.UPDATE_NODE: update_node,
    TxKind.RETIRE_NODE: retire_node,
    TxKind.PROVE_VRF: prove_vrf,
    TxKind.COMMIT_CHALLENGES: commit_challenges,
    TxKind.OPEN_CHALLENGES: open_challenges,
    TxKind.PUBLISH_TRANSCRIPTS: publish_transcripts,
    TxKind.COMMIT_SCORES: commit_scores,
    TxKind.REVEAL_SCORES: reveal_scores,
    TxKind.PROPOSE: propose,
    TxKind.VOTE: vote,
}

# Opens a transaction as `open_tx` does; the application passes one that remembers what it has opened.
OpenTx = Callable[[bytes, str], OpenedTx]


@dataclass(frozen=True, slots=True)
class Block:
    """One decided block: where it stands, and its transactions in order."""

    context: BlockContext
    txs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TxResult:
    """What became of one transaction: 0 or a permanent code, a sentence, and the events of a success."""

    code: int = 0
    log: str = ""
    events: tuple[Event, ...] = ()
    codespace: str = ""


@dataclass(frozen=True, slots=True)
class BlockResult:
    """Events of the hooks, one result per transaction in the block's order, and what CometBFT has to change."""

    events: tuple[Event, ...]
    tx_results: tuple[TxResult, ...]
    validator_updates: tuple[ValidatorUpdate, ...] = ()
    consensus_params: ConsensusChange | None = None


def apply_block(state: State, block: Block, opener: OpenTx | None = None) -> tuple[State, BlockResult]:
    """Apply one decided block. `state` is left as it was; the returned fork holds the block's writes.

    Raises UpgradeNeeded, before anything else, when the block is for a later release.
    """
    context = block.context
    upgrade.require_supported(state, context.height)
    after = state.fork()
    leaves = _Leaves(after)
    events: list[Event] = []
    for begin in (upgrade.begin_block, misbehavior.begin_block, epoch.begin_block):
        events += _run_hook(after, leaves, partial(begin, block=context))
    run = _Run(after, leaves, context, opener or open_tx)
    results = tuple(run.apply(raw) for raw in block.txs)
    events += _run_hook(after, leaves, partial(epoch.end_block, block=context))
    ended = running_epoch(after).number != run.rules.epoch
    for end in (misbehavior.end_block, governance.end_block, directory.end_block):
        events += _run_hook(after, leaves, partial(end, block=context, epoch_ended=ended))
    powers, params = committee.updates(state, after), changes.consensus_change(state, after)
    return after, BlockResult(tuple(events), results, powers, params)


def check_admission(opened: OpenedTx, size: int, state: State, by: admission.Rules, waiting: int, block: BlockContext) -> None:
    """Whether a mempool should keep the transaction: the signer may send it now, and it could be valid. Raises TxError.

    A stranger's registration must succeed as things stand, since a failed one costs its sender nothing. For others the
    handler's own check waits for the block: a verifier may send a moment before its window opens.
    """
    _, known = admission.admit(opened.tx, size, state, by, waiting)
    body = _body(opened)
    if not known:
        HANDLERS[TxKind(opened.tx.kind)].check_and_execute(body, opened.tx.signer, state.fork(), block)


def open_tx(raw: bytes, chain_id: str) -> OpenedTx:
    """What the bytes alone decide: envelope and signature, else TxError; the body and whether it could ever be valid."""
    tx = open_envelope(raw, chain_id)
    try:
        body = decode_body(tx)
        HANDLERS[TxKind(tx.kind)].check_stateless(body)
    except TxError as error:
        return OpenedTx(tx, None, Fault(error.code, error.detail))
    return OpenedTx(tx, body)


class _Leaves:
    """Which row holds which leaf of the tree while a block is applied: no two may share one."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._taken: dict[int, bytes] = {}

    def claim(self, fork: State, *, outrank: bool = False) -> list[bytes]:
        """Take the leaves of the fork's new rows. Answers the keys of other rows that hold one of them already, in which
        case nothing is taken unless the new rows outrank."""
        new = [key for key, value in fork.changes() if value is not None and self._state.get(key) is None]
        if not new:
            return []
        claims: dict[int, bytes] = {}
        found: list[bytes] = []
        for key in new:
            index = leaf_index(key)
            holder = claims.get(index) or self._taken.get(index) or self._state.occupant(index)
            if holder is not None and holder != key:
                found.append(holder)
            claims[index] = key
        if outrank or not found:
            self._taken.update(claims)
        return found


def _body(opened: OpenedTx) -> Message:
    if opened.body is None:
        assert opened.fault is not None
        raise TxError(opened.fault.code, opened.fault.detail)
    return opened.body


class _Run:
    """The transactions of one block, one after the other."""

    def __init__(self, state: State, leaves: _Leaves, block: BlockContext, opener: OpenTx) -> None:
        self._state, self._leaves, self._block, self._opener = state, leaves, block, opener
        self._registrations = 0
        self.rules = admission.rules(state)

    def apply(self, raw: bytes) -> TxResult:
        """What becomes of the next transaction."""
        try:
            opened = self._opener(raw, self._block.chain_id)
            tx = opened.tx
            account, known = admission.admit(tx, len(raw), self._state, self.rules)
            fork = self._state.fork()
            fork.save(account_key(tx.signer), account)
            if known:
                self._merge(fork)
                fork = self._state.fork()
            events = self._execute(opened, fork)
            self._merge(fork)
        except TxError as error:
            return TxResult(error.code, error.log, codespace=CODESPACE)
        self._registrations += tx.kind == TxKind.REGISTER_NODE
        action = TxKind(tx.kind).name.lower()
        message = Event("message", (("action", action), ("sender", tx.signer.hex()), ("module", "ledger")))
        return TxResult(events=(message, *events))

    def _execute(self, opened: OpenedTx, fork: State) -> list[Event]:
        body, tx = _body(opened), opened.tx
        if tx.kind == TxKind.REGISTER_NODE and self._registrations >= self.rules.params.registrations_per_block:
            raise TxError(REGISTRATIONS_FULL, f"{self._registrations} in this block")
        return HANDLERS[TxKind(tx.kind)].check_and_execute(body, tx.signer, fork, self._block)

    def _merge(self, fork: State) -> None:
        if self._leaves.claim(fork):
            raise TxError(KEY_COLLISION)
        self._state.merge(fork)


def _run_hook(state: State, leaves: _Leaves, hook: Callable[[State], list[Event]]) -> list[Event]:
    """A hook's rows outrank: finding a key that meets one chosen row takes 2^62 hashes, but meeting any row that some
    later epoch will write takes far fewer, and must not be able to stop the chain."""
    fork = state.fork()
    events = hook(fork)
    for rival in leaves.claim(fork, outrank=True):
        fork.delete(rival)
        events.append(Event("row_evicted", (("key", rival.hex()),)))
    state.merge(fork)
    return events
