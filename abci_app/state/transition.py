"""The state transition: what one decided block does to the state. Depends on nothing but the state and the block.

Order: the epoch's first-block hook, each transaction in a fork of its own, the epoch's last-block hook, the directory.
A transaction that fails changes nothing but its signer's nonce, and that only if signature and nonce were right. The
hooks must not fail; a bug in them ends the process, on every replica at the same block, before anything is written.
"""

from collections.abc import Callable
from dataclasses import dataclass

from abci_app.state import directory, epoch
from abci_app.state.app_hash import leaf_index
from abci_app.state.challenge import running_epoch
from abci_app.state.context import BlockContext, ConsensusChange, Event, Handler, ValidatorUpdate
from abci_app.state.envelope import Fault, OpenedTx, decode_body, open_envelope, require_nonce
from abci_app.state.errors import CODESPACE, KEY_COLLISION, TxError
from abci_app.state.state import State
from abci_app.state.txs import (
    commit_challenges,
    commit_scores,
    open_challenges,
    prove_vrf,
    publish_transcripts,
    register_node,
    retire_node,
    reveal_scores,
    update_node,
)
from network.chain_records import Account, account_key
from network.chain_tx import TxKind

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
    """Apply one decided block. `state` is left as it was; the returned fork holds the block's writes."""
    after = state.fork()
    leaves = _Leaves(after)
    events = _run_hook(after, leaves, lambda fork: epoch.begin_block(fork, block.context))
    opening = opener or open_tx
    results = tuple(_apply_tx(raw, after, leaves, block.context, opening) for raw in block.txs)
    running = running_epoch(after).number
    events += _run_hook(after, leaves, lambda fork: epoch.end_block(fork, block.context))
    ended = running_epoch(after).number != running
    events += _run_hook(after, leaves, lambda fork: directory.end_block(fork, block.context, ended))
    return after, BlockResult(tuple(events), results)


def open_tx(raw: bytes, chain_id: str) -> OpenedTx:
    """What the bytes alone decide: envelope and signature, else TxError; the body and whether it could ever be valid."""
    tx = open_envelope(raw, chain_id)
    try:
        body = decode_body(tx)
        HANDLERS[TxKind(tx.kind)].check_stateless(body)
    except TxError as error:
        return OpenedTx(tx, None, Fault(error.code, error.log))
    return OpenedTx(tx, body)


class _Leaves:
    """Which row holds which leaf of the tree while a block is applied: no two may share one."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._taken: dict[int, bytes] = {}

    def claim(self, fork: State, *, outrank: bool = False) -> list[bytes]:
        """Take the leaves of the fork's new rows. Answers the keys of other rows that hold one of them already, in which
        case nothing is taken unless the new rows outrank."""
        claims: dict[int, bytes] = {}
        found: list[bytes] = []
        for key, value in fork.changes():
            if value is None or self._state.get(key) is not None:
                continue
            index = leaf_index(key)
            holder = claims.get(index) or self._taken.get(index) or self._state.occupant(index)
            if holder is not None and holder != key:
                found.append(holder)
            claims[index] = key
        if outrank or not found:
            self._taken.update(claims)
        return found


def _apply_tx(raw: bytes, state: State, leaves: _Leaves, block: BlockContext, opener: OpenTx) -> TxResult:
    try:
        opening = opener(raw, block.chain_id)
        tx = opening.tx
        require_nonce(tx, state)
        opened = state.fork()
        opened.save(account_key(tx.signer), Account(tx.nonce))
        _merge(state, opened, leaves)
        if opening.body is None:
            assert opening.fault is not None
            return TxResult(opening.fault.code, opening.fault.log, codespace=CODESPACE)
        fork = state.fork()
        events = HANDLERS[TxKind(tx.kind)].check_and_execute(opening.body, tx.signer, fork, block)
        _merge(state, fork, leaves)
    except TxError as error:
        return TxResult(error.code, error.log, codespace=CODESPACE)
    action = TxKind(tx.kind).name.lower()
    message = Event("message", (("action", action), ("sender", tx.signer.hex()), ("module", "ledger")))
    return TxResult(events=(message, *events))


def _merge(state: State, fork: State, leaves: _Leaves) -> None:
    if leaves.claim(fork):
        raise TxError(KEY_COLLISION)
    state.merge(fork)


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
