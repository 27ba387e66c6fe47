"""The order in which CometBFT may call: a checker without sockets, stricter than the published grammar.

The grammar leaves each connection and each height to itself. This one knows the application's height and its four
connections, so that a second node on the socket, a skipped height, a proposal for another height or a call between
FinalizeBlock and Commit is noticed when it happens, and not when two app hashes differ. Rules: `docs/adr/0070-call-order.md`.
"""

from dataclasses import dataclass, field
from enum import Enum

from network.errors import RemoteProtocolError


class OrderViolation(RemoteProtocolError):
    """A call that no CometBFT makes at this point: whatever drives the application is not one node alone."""


class WrongConnection(OrderViolation):
    """A call on a connection that is not for it. Refusing that connection is enough: nothing was done for it."""


class Kind(Enum):
    """The four connections of one node; nothing but the methods on it tells which is which."""

    QUERY = "query"
    SNAPSHOT = "snapshot"
    MEMPOOL = "mempool"
    CONSENSUS = "consensus"


KINDS = {
    "info": Kind.QUERY,
    "query": Kind.QUERY,
    "list_snapshots": Kind.SNAPSHOT,
    "offer_snapshot": Kind.SNAPSHOT,
    "load_snapshot_chunk": Kind.SNAPSHOT,
    "apply_snapshot_chunk": Kind.SNAPSHOT,
    "check_tx": Kind.MEMPOOL,
    "init_chain": Kind.CONSENSUS,
    "prepare_proposal": Kind.CONSENSUS,
    "process_proposal": Kind.CONSENSUS,
    "extend_vote": Kind.CONSENSUS,
    "verify_vote_extension": Kind.CONSENSUS,
    "finalize_block": Kind.CONSENSUS,
    "commit": Kind.CONSENSUS,
}


@dataclass(frozen=True, slots=True)
class Call:
    """What the order depends on in one request. `height` is the block's, the offered snapshot's, or InitChain's initial
    one; `block` the block's hash, `time` its time in nanoseconds, `number` the chunks offered or the chunk's index."""

    method: str
    height: int = 0
    block: bytes = b""
    time: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Restore:
    """A snapshot that was accepted and is being applied: its height, its chunks, and how many have come."""

    height: int
    chunks: int
    applied: int = 0


@dataclass(slots=True)
class _Round:
    """What one consensus connection has been asked since the last Commit."""

    shown: set[bytes] = field(default_factory=set)
    extended: set[bytes] = field(default_factory=set)
    finalized: bool = False
    time: int = 0


class CallOrder:
    """Follows one application. `begin` before each call but Echo and Flush, `end` after its answer, `closed` with its
    connection. `height` is what the application has committed; `unseen` counts blocks decided at the tip of which no
    proposal was shown here (another round's, got from a peer: it happens, but rarely)."""

    def __init__(self, height: int) -> None:
        self.height = height
        self.unseen = 0
        self._first = 0  # the initial height that InitChain gave; 0 before it
        self._kinds: dict[int, Kind] = {}
        self._round = _Round()
        self._time = 0
        self._restore: Restore | None = None
        self._unconfirmed = False  # a snapshot is in place, and CometBFT has not asked Info since
        self._begun = False  # a consensus call has come, so CometBFT is past its state sync

    def passes(self, connection: int, method: str) -> bool:
        """Whether nothing is to be checked: a CheckTx on its own connection may come at any time, and is most of all calls."""
        return method == "check_tx" and self._kinds.get(connection) is Kind.MEMPOOL

    def begin(self, connection: int, call: Call) -> None:
        """Raises OrderViolation when this call cannot come now on this connection."""
        kind = KINDS[call.method]
        held = self._kinds.get(connection)
        if held is None:
            if kind in self._kinds.values():
                raise WrongConnection(f"{call.method} on a second {kind.value} connection: is another node on this socket?")
            self._kinds[connection] = kind
        elif held is not kind:
            raise WrongConnection(f"{call.method} on the {held.value} connection")
        if kind is Kind.CONSENSUS:
            self._consensus(call)
        elif kind is Kind.SNAPSHOT:
            self._snapshot(call)

    def end(self, call: Call, *, accepted: bool = True, height: int = 0) -> None:
        """The call was answered. `accepted`: a snapshot or chunk was taken; `height`: what Info said."""
        if call.method == "init_chain":
            self._first = max(1, call.height)
        elif call.method == "process_proposal":
            self._round.shown.add(call.block)
        elif call.method == "finalize_block":
            self._round.finalized, self._round.time = True, call.time
        elif call.method == "commit":
            self.height = self.height + 1 if self.height else self._first
            self._time = self._round.time
            self._round = _Round()
        elif call.method == "offer_snapshot":
            self._restore = Restore(call.height, call.number) if accepted else None
        elif call.method == "apply_snapshot_chunk":
            self._chunk(call, accepted)
        elif call.method == "info":
            self._informed(height)

    def closed(self, connection: int) -> None:
        """A connection is gone: what was not committed, or not restored to its end, is asked again on the next."""
        kind = self._kinds.pop(connection, None)
        if kind is Kind.CONSENSUS:
            self._round = _Round()
        elif kind is Kind.SNAPSHOT:
            self._restore = None

    def _consensus(self, call: Call) -> None:
        self._begun = True
        if self._restore is not None or self._unconfirmed:
            raise OrderViolation(f"{call.method} before Info has confirmed the snapshot")
        if call.method == "init_chain":
            if self.height or self._round.finalized:
                raise OrderViolation(f"InitChain at height {self.height}")
            return
        if not self.height and not self._first:
            raise OrderViolation(f"{call.method} before InitChain")
        if call.method == "commit":
            if not self._round.finalized:
                raise OrderViolation("Commit without FinalizeBlock")
            return
        if self._round.finalized:
            raise OrderViolation(f"{call.method} between FinalizeBlock and Commit")
        expected = self.height + 1 if self.height else self._first
        if call.height != expected:
            raise OrderViolation(f"{call.method} of height {call.height}, expected {expected}")
        if call.method == "finalize_block":
            self._finalize(call)
        elif call.method == "extend_vote":
            if call.block not in self._round.shown or call.block in self._round.extended:
                raise OrderViolation("ExtendVote twice for a block, or for one that was not shown")
            self._round.extended.add(call.block)

    def _finalize(self, call: Call) -> None:
        if call.time and call.time <= self._time and self.height:
            raise OrderViolation(f"FinalizeBlock of height {call.height} is not later than the block before")
        if self._round.shown and call.block not in self._round.shown:
            self.unseen += 1

    def _snapshot(self, call: Call) -> None:
        # A height alone is no objection: CometBFT may have died between the last chunk and saving its own state.
        if call.method == "offer_snapshot" and self._begun:
            raise OrderViolation(f"OfferSnapshot to an application that has taken part, at height {self.height}")
        if call.method == "apply_snapshot_chunk":
            if self._restore is None:
                raise OrderViolation("ApplySnapshotChunk without an accepted snapshot")
            if call.number >= self._restore.chunks:
                raise OrderViolation(f"chunk {call.number} of {self._restore.chunks}")

    def _chunk(self, call: Call, accepted: bool) -> None:
        assert self._restore is not None
        if not accepted:
            return
        applied = max(self._restore.applied, call.number + 1)
        self._restore = Restore(self._restore.height, self._restore.chunks, applied)
        if applied == self._restore.chunks:
            self.height, self._restore, self._unconfirmed = self._restore.height, None, True

    def _informed(self, height: int) -> None:
        if height != self.height:
            raise OrderViolation(f"Info says height {height}, {self.height} was committed")
        self._unconfirmed = False
