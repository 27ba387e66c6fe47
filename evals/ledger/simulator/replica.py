"""One node of a simulated chain: a real application, and what its CometBFT would keep.

CometBFT's durable parts are the height of its block store and of its state; they part from the application's height when
the node crashes inside a block, and `start` brings them together again by the table of CometBFT's handshake.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from abci_app.abci.order import KINDS, Kind
from abci_app.abci.pb import abci_pb2 as abci
from abci_app.state.errors import UpgradeNeeded
from network.chain_records import STORE_NAME


class CrashPoint(Enum):
    """Where inside a block a node may lose everything that is not on disk."""

    BLOCK_SAVED = "the block is stored, the application has not seen it"
    FINALIZED = "FinalizeBlock was answered"
    COMMITTED = "Commit was answered, CometBFT's own state was not saved"


class Process(Protocol):
    """A running application: takes ABCI requests as bytes, and dies when it is closed."""

    def ask(self, kind: Kind, raw: bytes) -> bytes:
        """The encoded response to an encoded request on one of the four connections."""

    def close(self) -> None:
        """End without warning: what is not on disk is lost."""


class Diverged(AssertionError):
    """A replica said something else than the others: the one thing that must never happen."""


@dataclass
class Decided:
    """One decided block: what FinalizeBlock is asked, and what the first replica answered."""

    request: abci.RequestFinalizeBlock
    response: bytes = b""

    @property
    def app_hash(self) -> bytes:
        """The app hash after this block."""
        return abci.ResponseFinalizeBlock.FromString(self.response).app_hash


@dataclass
class Replica:
    """`begin` starts the application's process, as a supervisor does; `wipe` makes it forget its data."""

    name: str
    begin: Callable[[], Process]
    erase: Callable[[], None]
    init_chain: abci.RequestInitChain
    stored: int = 0  # the block store's height
    state: int = 0  # the height of CometBFT's state
    pool: dict[bytes, None] = field(default_factory=dict)
    up: bool = False
    ended: UpgradeNeeded | None = None  # why the process ended by itself

    def start(self, chain: list[Decided]) -> None:
        """Begin the process and go through the handshake: InitChain where nothing is committed, then the missing blocks."""
        assert not self.up
        self.process = self.begin()
        self.up = True
        info = self.call("info", abci.RequestInfo())
        height = info.last_block_height
        if height == 0:
            self.call("init_chain", self.init_chain)
        if height > self.stored:
            raise Diverged(f"{self.name}: the application is at {height}, its node at {self.stored}")
        if height and info.last_block_app_hash != chain[height - 1].app_hash:
            raise Diverged(f"{self.name}: Info names another app hash of height {height} than the chain's")
        try:
            for at in range(height, self.stored):
                self.apply(chain[at])
        except UpgradeNeeded as needed:
            self.ended = needed
            return self.stop()
        self.state = self.stored

    def step_back(self, height: int) -> None:
        """`cometbft rollback --hard` beside the application's: the node forgets everything above this height."""
        assert not self.up and height <= self.stored
        self.stored = self.state = height

    def begin_empty(self) -> None:
        """Begin the process of a wiped replica that shall not replay: its node has forgotten its blocks, too."""
        assert not self.up
        self.process = self.begin()
        self.up, self.stored, self.state = True, 0, 0
        if self.call("info", abci.RequestInfo()).last_block_height:
            raise Diverged(f"{self.name} has a state after its disk was wiped")

    def stop(self) -> None:
        """Lose everything that is not on disk."""
        assert self.up
        self.process.close()
        self.pool.clear()
        self.up = False

    def wipe(self) -> None:
        """A stopped replica loses its application's data, not its node's."""
        assert not self.up
        self.erase()

    def call(self, method: str, request: Any) -> Any:
        """One ABCI call, encoded and decoded on both ways."""
        raw = abci.Request(**{method: request}).SerializeToString()
        response = abci.Response.FromString(self.process.ask(KINDS[method], raw))
        if response.WhichOneof("value") != method:
            raise Diverged(f"{self.name}: {method} was answered by {response}")
        return getattr(response, method)

    def apply(self, block: Decided) -> None:
        """FinalizeBlock and Commit of one decided block; the answer must be every other replica's."""
        self.finalize(block)
        self.call("commit", abci.RequestCommit())

    def finalize(self, block: Decided) -> None:
        """FinalizeBlock. The first replica's answer becomes the block's."""
        answer = self.call("finalize_block", block.request).SerializeToString(deterministic=True)
        if not block.response:
            block.response = answer
        if answer != block.response:
            raise Diverged(f"{self.name}: another answer to FinalizeBlock of height {block.request.height} than the others")

    def decide(self, block: Decided, crash: CrashPoint | None = None) -> None:
        """The commit path of one height. A crash leaves what would be on disk at that point."""
        height = block.request.height
        assert height == self.stored + 1
        self.stored = height
        if crash is CrashPoint.BLOCK_SAVED:
            return self.stop()
        try:
            self.finalize(block)
        except UpgradeNeeded as needed:
            self.ended = needed
            return self.stop()
        if crash is CrashPoint.FINALIZED:
            return self.stop()
        self.call("commit", abci.RequestCommit())
        if crash is CrashPoint.COMMITTED:
            return self.stop()
        self.state = height
        self.recheck(block)

    def recheck(self, block: Decided) -> None:
        """What CometBFT's mempool does after a block: forget what is in it, and check the rest again."""
        for raw in block.request.txs:
            self.pool.pop(raw, None)
        for raw in list(self.pool):
            if self.call("check_tx", abci.RequestCheckTx(tx=raw, type=1)).code:
                del self.pool[raw]

    def submit(self, raw: bytes) -> int:
        """CheckTx; what passes waits in the mempool. Answers the code."""
        code: int = self.call("check_tx", abci.RequestCheckTx(tx=raw)).code
        if code == 0:
            self.pool[raw] = None
        return code

    def read(self, key: bytes) -> bytes | None:
        """The value of one row at the latest height, by Query."""
        path = f"/store/{STORE_NAME}/key"
        answer = self.call("query", abci.RequestQuery(path=path, data=key, height=self.stored))
        return bytes(answer.value) if answer.code == 0 else None
