"""State sync, both sides: which snapshots are offered, and what is believed of a peer's. Pure: the disk is behind protocols.

Nothing of a peer is trusted but what leads to the app hash that CometBFT's light client has verified. Metadata is judged
before a chunk is fetched, a chunk before a row of it is written, and the restored directory takes the old one's place when
all chunks are in and its root is the trusted one. A bad chunk costs its sender, a bad list everybody who offered it.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

from abci_app.snapshot import CHUNK_LIMIT, FORMAT, Part, Snapshot, decode_rows, decode_snapshot
from abci_app.tree import Nodes, Tree
from network.crypto import sha256
from network.errors import DecodeError

# CometBFT asks its peers for no more than this many.
MOST_OFFERS = 10


class Verdict(IntEnum):
    """What CometBFT is told about an offered snapshot; the numbers are ABCI's."""

    ACCEPT = 1
    ABORT = 2
    REJECT = 3
    REJECT_FORMAT = 4
    REJECT_SENDER = 5


class Outcome(IntEnum):
    """What CometBFT is told about a chunk; the numbers are ABCI's."""

    ACCEPT = 1
    ABORT = 2
    RETRY = 3
    RETRY_SNAPSHOT = 4
    REJECT_SNAPSHOT = 5


class Offer(NamedTuple):
    """A snapshot as it travels between peers."""

    height: int
    format: int
    chunks: int
    hash: bytes
    metadata: bytes


class Applied(NamedTuple):
    """The answer to one chunk: the outcome, the chunks to fetch again, and the senders to hear no more."""

    outcome: Outcome
    refetch: tuple[int, ...] = ()
    rejected: tuple[str, ...] = ()


class Shelf(Protocol):
    """The snapshots that this replica has."""

    @property
    def oldest(self) -> int | None:
        """The lowest height that has a snapshot, or None."""

    def offers(self) -> Sequence[Offer]:
        """What is offered, newest first."""

    def chunk(self, height: int, index: int) -> bytes:
        """A chunk's bytes; empty when it is not there, or no longer what it was."""

    def committed(self, height: int) -> None:
        """A height has become durable: time to take its snapshot, perhaps."""


class EmptyShelf:
    """A replica that takes no snapshots."""

    oldest: int | None = None

    def offers(self) -> Sequence[Offer]:
        """None."""
        return ()

    def chunk(self, height: int, index: int) -> bytes:
        """Absent."""
        return b""

    def committed(self, height: int) -> None:
        """No snapshot is taken."""


EMPTY_SHELF = EmptyShelf()


class Side(Protocol):
    """A store that is being restored beside the present one."""

    @property
    def nodes(self) -> Nodes:
        """The nodes of its tree so far."""

    def add(self, rows: Iterable[tuple[bytes, bytes | None]], nodes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Write rows, and the tree nodes that they change."""

    def finish(self) -> None:
        """Take the place of the present store."""

    def drop(self) -> None:
        """Give up and remove what was written."""


def offer_of(snapshot: Snapshot) -> Offer:
    """How a snapshot is offered to peers."""
    return Offer(snapshot.height, FORMAT, len(snapshot.parts), snapshot.hash, snapshot.metadata)


class Restore:
    """The receiving side. `restoring` opens a Side for a height and its trusted app hash."""

    def __init__(self, chain_id: str, restoring: Callable[[int, bytes], Side]) -> None:
        self._chain_id = chain_id
        self._restoring = restoring
        self._snapshot: Snapshot | None = None
        self._side: Side | None = None
        self._applied: set[int] = set()

    @property
    def running(self) -> bool:
        """Whether chunks are awaited."""
        return self._side is not None

    def offer(self, offer: Offer, trusted: bytes) -> Verdict:
        """Whether to fetch this snapshot, of whose height `trusted` is the app hash."""
        self.drop()
        if offer.format != FORMAT:
            return Verdict.REJECT_FORMAT
        try:
            snapshot = decode_snapshot(offer.metadata)
        except DecodeError:
            return Verdict.REJECT_SENDER
        if offer != offer_of(snapshot) or (snapshot.chain_id, snapshot.app_hash) != (self._chain_id, trusted):
            return Verdict.REJECT_SENDER
        self._snapshot = snapshot
        self._side = self._restoring(snapshot.height, trusted)
        return Verdict.ACCEPT

    def apply(self, index: int, chunk: bytes, sender: str) -> Applied:
        """Take one chunk. With the last one accepted, the restored state is the present one."""
        if self._snapshot is None or self._side is None or index >= len(self._snapshot.parts):
            return Applied(Outcome.ABORT)
        if index in self._applied:
            return Applied(Outcome.ACCEPT)
        part = self._snapshot.parts[index]
        if len(chunk) > CHUNK_LIMIT or sha256(chunk) != part.chunk:
            return Applied(Outcome.RETRY, (index,), (sender,))
        if not self._write(self._side, part, chunk):
            self.drop()
            return Applied(Outcome.REJECT_SNAPSHOT, rejected=(sender,))
        self._applied.add(index)
        if len(self._applied) == len(self._snapshot.parts):
            self._side.finish()
            self._forget()
        return Applied(Outcome.ACCEPT)

    def drop(self) -> None:
        """Give up what was begun."""
        if self._side is not None:
            self._side.drop()
        self._forget()

    @staticmethod
    def _write(side: Side, part: Part, chunk: bytes) -> bool:
        """Whether the chunk is what the state holds in its subtree; only then it is written."""
        try:
            rows = decode_rows(chunk, part)
        except DecodeError:
            return False
        _, writes = Tree(side.nodes).update(rows)
        if Tree(_Changed(side.nodes, writes)).subtree(part.depth, part.prefix) != part.subtree:
            return False
        side.add(rows, sorted(writes.items()))
        return True

    def _forget(self) -> None:
        self._snapshot = self._side = None
        self._applied = set()


class _Changed:
    """Nodes with some of them changed."""

    def __init__(self, nodes: Nodes, writes: dict[bytes, bytes | None]) -> None:
        self._nodes = nodes
        self._writes = writes

    def get(self, key: bytes) -> bytes | None:
        """The node under `key`, or None."""
        return self._writes[key] if key in self._writes else self._nodes.get(key)
