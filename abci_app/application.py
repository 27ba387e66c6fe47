"""The replicated application: ABCI's methods in lifecycle order. It decides nothing itself.

`state/transition.py` says what a block does, `tree.py` what the app hash is, the store what is durable. FinalizeBlock
stages a version, Commit saves it; every other method reads. Requirements: `docs/ledger.md` section 8.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from abci_app.proposal import choose
from abci_app.query.answer import QueryAnswer
from abci_app.query.store import answer
from abci_app.retention import KEEP_ALL, Retention
from abci_app.state.admission import Rules, rules, tokens
from abci_app.state.app_hash import app_hash
from abci_app.state.challenge import parameters
from abci_app.state.context import BlockContext
from abci_app.state.envelope import OpenedTx
from abci_app.state.errors import CODESPACE, TxError
from abci_app.state.genesis import Genesis, app_version, genesis_state
from abci_app.state.state import Decoded, MemoryReader, Reader, State
from abci_app.state.transition import Block, BlockResult, TxResult, apply_block, check_admission, open_tx
from abci_app.state.upgrade import require_supported, version
from abci_app.state_sync import EMPTY_SHELF, Applied, Offer, Outcome, Restore, Shelf, Verdict
from abci_app.tree import Nodes, Tree
from network.chain_records import CURRENT_EPOCH_KEY, EpochRecord
from network.chain_tx import SignedTx
from network.errors import ConfigError

# Of opened transactions: as many of 300 bytes as CometBFT's mempool holds (20,000). What is remembered of each weighs
# about as much again.
REMEMBERED_BYTES = 6_000_000
ADMITTED = TxResult()  # what CheckTx says of every transaction that the mempool should keep
RELEASE = "0.1.0"


class Version(Reader, Protocol):
    """One readable version of the ledger: its rows, and its tree's nodes."""

    @property
    def nodes(self) -> Nodes:
        """The nodes of the version's tree."""

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, from the key `start` on, in ascending key order."""


@dataclass(frozen=True, slots=True)
class Staged:
    """What one block adds to the version before it, ready to be saved: changed rows, changed tree nodes, app hash."""

    height: int
    app_hash: bytes
    rows: tuple[tuple[bytes, bytes | None], ...]
    nodes: tuple[tuple[bytes, bytes | None], ...]


class Store(Protocol):
    """Where versions are durable. `height` 0 means that nothing has been committed."""

    @property
    def height(self) -> int:
        """The latest committed height."""

    @property
    def oldest(self) -> int:
        """The oldest height that `version` can still read."""

    @property
    def app_hash(self) -> bytes:
        """The app hash of the latest committed height."""

    def version(self, height: int) -> Version:
        """The committed version at `height`, within `oldest`..`height`."""

    def save(self, staged: Staged, genesis: Staged | None) -> None:
        """Make a version durable, all or nothing; the chain's first one brings the genesis version it stands on."""


@dataclass(frozen=True, slots=True)
class _MemoryVersion:
    """The genesis version before the first Commit: nothing of it is durable, because InitChain may come twice."""

    rows: MemoryReader
    nodes: dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class _Executed:
    """What a block made of the latest state."""

    block: Block
    result: BlockResult
    staged: Staged


class Application:
    """One replica's application. Methods are called one at a time. `app_state` is the genesis document's, as JSON.

    Raises UpgradeNeeded when the store is of an application version that this release does not support.
    """

    def __init__(
        self,
        store: Store,
        chain_id: str,
        app_state: bytes,
        *,
        shelf: Shelf = EMPTY_SHELF,
        restore: Restore | None = None,
        retention: Retention = KEEP_ALL,
    ) -> None:
        self._store = store
        self.chain_id = chain_id
        self.shelf = shelf
        self._restore = restore
        self._retention = retention
        self._app_state = json.loads(app_state)
        self._genesis: tuple[_MemoryVersion, Staged] | None = None
        self._staged: Staged | None = None
        self._opened: dict[bytes, OpenedTx] = {}
        self._opened_bytes = 0
        self._codes: list[int] = []
        self._decoded = Decoded()
        self._state: tuple[int, State] | None = None
        self._waiting: dict[bytes, int] = {}  # signer -> tokens of what CheckTx admitted since the last Commit
        self._admitting: tuple[Rules, BlockContext] | None = None  # of the next block, until the next Commit
        self._proposed: Block | None = None
        self._executed: _Executed | None = None
        if store.height:
            require_supported(State(store.version(store.height)), 0)

    @property
    def height(self) -> int:
        """The latest committed height."""
        return self._store.height

    def info(self) -> tuple[int, bytes]:
        """The last height whose Commit finished, and its app hash."""
        return self._store.height, self._store.app_hash

    def app_version(self) -> int:
        """The application version of the latest state; before the first block the genesis document's."""
        if self._store.height == 0:
            return app_version(self._app_state)
        return version(self._present()).app_version

    def max_block_bytes(self) -> int:
        """What the chain's parameters say about CometBFT's blocks; 0 leaves them as CometBFT's own genesis has them."""
        return parameters(self._present()).max_block_bytes

    def init_chain(self, genesis: Genesis) -> bytes:
        """The app hash of the genesis state. May come again before the first Commit, so nothing is saved. Raises
        ConfigError when CometBFT's data is of another chain than ours: it keeps the genesis it first started with."""
        assert self._store.height == 0, "InitChain on a chain that has blocks"
        if genesis.chain_id != self.chain_id or json.loads(genesis.app_state or b"null") != self._app_state:
            raise ConfigError(
                f"CometBFT's data is of another chain ({genesis.chain_id!r}, begun from another genesis document) than "
                f"{self.chain_id!r}; move CometBFT's data directory away"
            )
        changes = tuple(genesis_state(genesis).changes())
        root, writes = Tree({}).update(changes)
        rows = {key: value for key, value in changes if value is not None}
        nodes = {key: value for key, value in writes.items() if value is not None}
        staged = Staged(genesis.initial_height - 1, app_hash(root), changes, tuple(writes.items()))
        self._genesis = (_MemoryVersion(MemoryReader(rows), nodes), staged)
        self._state = None
        self._forget_admitted()
        return staged.app_hash

    def query(self, path: str, key: bytes, height: int, prove: bool) -> QueryAnswer:
        """One row, or a friendly path's document, of a committed version."""
        return answer(self._store, path, key, height, prove)

    def check_tx(self, raw: bytes) -> TxResult:
        """Whether the mempool should keep and spread a transaction: its signer may send it, and it could be valid.

        What is admitted counts against the signer's quota until the next Commit, after which CometBFT asks again about
        what stayed in its mempool."""
        try:
            opened = self._open(raw, self.chain_id)
            waiting, state = self._waiting.get(opened.tx.signer, 0), self._present()
            if self._admitting is None:
                self._admitting = rules(state), BlockContext(self.chain_id, self._store.height + 1, b"", b"")
            by, following = self._admitting
            check_admission(opened, len(raw), state, by, waiting, following)
        except TxError as error:
            return TxResult(error.code, error.log, codespace=CODESPACE)
        self._waiting[opened.tx.signer] = waiting + tokens(len(raw))
        return ADMITTED

    def prepare_proposal(self, txs: Sequence[bytes], max_bytes: int) -> list[bytes]:
        """The transactions to propose (`proposal.py`); what ProcessProposal would refuse is left out."""
        opened: list[tuple[bytes, SignedTx]] = []
        for raw in txs:
            with suppress(TxError):
                opened.append((raw, self._open(raw, self.chain_id).tx))
        return choose(opened, self._present(), max_bytes)

    def process_proposal(self, txs: Sequence[bytes], block: BlockContext | None = None) -> bool:
        """Whether an honest `prepare_proposal` could have made this block: every envelope opens. Anything else a
        transaction may get wrong costs it a code in FinalizeBlock, not the proposer its block."""
        try:
            for raw in txs:
                self._open(raw, self.chain_id)
        except TxError:
            return False
        self._proposed = Block(block, tuple(txs)) if block is not None else None
        return True

    def execute_ahead(self) -> None:
        """Execute the proposal accepted last while the validators vote on it. It changes nothing: FinalizeBlock takes what
        came of it if that very block is decided, and else executes the one that is."""
        proposed, self._proposed = self._proposed, None
        if proposed is not None:
            self._executed = None
            self._executed = self._execute(proposed)

    def finalize_block(self, block: BlockContext, txs: Sequence[bytes]) -> tuple[BlockResult, bytes]:
        """Apply the decided block and stage the outcome. May come again for the same height."""
        decided, executed = Block(block, tuple(txs)), self._executed
        if executed is None or executed.block != decided:
            executed = self._execute(decided)
        self._codes = [tx_result.code for tx_result in executed.result.tx_results]
        self._staged = executed.staged
        return executed.result, executed.staged.app_hash

    def commit(self) -> int:
        """Make the staged version durable. Answers the lowest height whose block CometBFT must keep; 0 lets it keep all."""
        assert self._staged is not None, "Commit without FinalizeBlock"
        genesis = self._genesis[1] if self._genesis is not None else None
        self._store.save(self._staged, genesis)
        self._staged = self._genesis = None
        self._forget_admitted()
        height = self._store.height
        self.shelf.committed(height)
        return self._retention.retain_height(height, oldest_version=self._store.oldest, oldest_snapshot=self.shelf.oldest)

    def offer_snapshot(self, offer: Offer, trusted: bytes) -> Verdict:
        """Whether to fetch a peer's snapshot of a height whose app hash is `trusted`. Where no store can be restored, none."""
        return self._restore.offer(offer, trusted) if self._restore is not None else Verdict.REJECT

    def apply_snapshot_chunk(self, index: int, chunk: bytes, sender: str) -> Applied:
        """Take one chunk of the accepted snapshot; with the last one its height is the latest."""
        if self._restore is None:
            return Applied(Outcome.ABORT)
        applied = self._restore.apply(index, chunk, sender)
        self._staged = self._genesis = self._state = None
        self._forget_admitted()
        return applied

    def committed_codes(self) -> list[int]:
        """The codes of the latest block's transactions, for the metrics."""
        return self._codes

    def running_epoch(self) -> int | None:
        """The running epoch's number, for the metrics; None before the first Commit."""
        if self._store.height == 0:
            return None
        record = self._present().load(EpochRecord, CURRENT_EPOCH_KEY)
        return record.number if record is not None else None

    def _execute(self, block: Block) -> "_Executed":
        before, height = self._present(), block.context.height
        expected = self._store.height + 1 if self._store.height else self._initial_height()
        assert height == expected, f"FinalizeBlock of height {height}, expected {expected}"
        after, result = apply_block(before, block, self._open)
        rows = tuple((key, value) for key, value in after.changes() if before.get(key) != value)
        root, nodes = Tree(self._latest_nodes()).update(rows)
        return _Executed(block, result, Staged(height, app_hash(root), rows, tuple(nodes.items())))

    def _forget_admitted(self) -> None:
        """Another state is the latest: what was admitted or executed on the one before counts no more."""
        self._waiting.clear()
        self._admitting = self._proposed = self._executed = None

    def _initial_height(self) -> int:
        assert self._genesis is not None, "FinalizeBlock before InitChain"
        return self._genesis[1].height + 1

    def _present(self) -> State:
        """The last committed state, or the genesis state before the first Commit; nobody writes to it."""
        if self._state is None or self._state[0] != self._store.height:
            self._state = (self._store.height, State(self._latest(), self._decoded))
        return self._state[1]

    def _latest(self) -> Reader:
        if self._genesis is not None:
            return self._genesis[0].rows
        return self._store.version(self._store.height) if self._store.height else MemoryReader()

    def _latest_nodes(self) -> Nodes:
        return self._genesis[0].nodes if self._genesis is not None else self._store.version(self._store.height).nodes

    def _open(self, raw: bytes, chain_id: str) -> OpenedTx:
        """`open_tx`, remembering what has been opened: CheckTx, the proposals and FinalizeBlock see the same bytes, and
        verifying and decoding them is most of a transaction's cost."""
        known = self._opened.get(raw)
        if known is not None:
            return known
        opened = open_tx(raw, chain_id)
        self._opened[raw] = opened
        self._opened_bytes += len(raw)
        while self._opened_bytes > REMEMBERED_BYTES:
            oldest = next(iter(self._opened))
            del self._opened[oldest]
            self._opened_bytes -= len(oldest)
        return opened
