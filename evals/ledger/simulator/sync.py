"""State sync in the simulator: snapshots kept in memory, and a node that fetches one from its peers as CometBFT does.

What is verified and written is the application's; here are only the shelf that a replica offers from, the place a memory
store is restored beside, and the order of CometBFT's calls.
"""

from collections.abc import Callable, Iterable, Sequence

from abci_app.abci.pb import abci_pb2 as abci
from abci_app.application import Store
from abci_app.snapshot import Chunk, Snapshot, take
from abci_app.state_sync import Offer, offer_of
from evals.ledger.simulator.replica import Decided, Diverged, Replica
from evals.ledger.simulator.world import CHAIN_ID

INTERVAL, KEPT = 8, 2
ACCEPT, RETRY, REJECT_SNAPSHOT = 1, 3, 5

# What a malicious peer makes of a chunk.
Tamper = Callable[[bytes], bytes]


class MemoryShelf:
    """One replica's snapshots, taken at once at every height that `INTERVAL` divides. Survives its process."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Snapshot, list[bytes]]] = {}
        self._store: Store | None = None

    def serve(self, store: Store) -> "MemoryShelf":
        """Take the snapshots of this store from now on."""
        self._store = store
        return self

    @property
    def oldest(self) -> int | None:
        """The lowest height that has a snapshot."""
        return min(self._held, default=None)

    def offers(self) -> Sequence[Offer]:
        """Newest first."""
        return [offer_of(self._held[height][0]) for height in sorted(self._held, reverse=True)]

    def chunk(self, height: int, index: int) -> bytes:
        """A chunk's bytes; empty when it is not there."""
        chunks = self._held[height][1] if height in self._held else []
        return chunks[index] if index < len(chunks) else b""

    def committed(self, height: int) -> None:
        """Take one when it is time."""
        if height % INTERVAL or self._store is None:
            return
        chunks: list[bytes] = []
        for step in take(self._store.version(height), CHAIN_ID, height, self._store.app_hash):
            if isinstance(step, Chunk):
                chunks.append(step.raw)
            elif isinstance(step, Snapshot):
                self._held[height] = step, chunks
        for old in sorted(self._held)[:-KEPT]:
            del self._held[old]


class MemorySide:
    """Rows and nodes restored beside a memory store, until they take its place."""

    def __init__(self, finish: Callable[[dict[bytes, bytes], dict[bytes, bytes]], None]) -> None:
        self._finish = finish
        self.rows: dict[bytes, bytes] = {}
        self.nodes: dict[bytes, bytes] = {}

    def add(self, rows: Iterable[tuple[bytes, bytes | None]], nodes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Write rows and nodes."""
        for held, changes in ((self.rows, rows), (self.nodes, nodes)):
            for key, value in changes:
                if value is None:
                    held.pop(key, None)
                else:
                    held[key] = value

    def finish(self) -> None:
        """Take the place of the present store."""
        self._finish(self.rows, self.nodes)

    def drop(self) -> None:
        """Forget it all."""
        self.rows, self.nodes = {}, {}


def state_sync(replica: Replica, peers: Sequence[Replica], chain: Sequence[Decided], tamper: Tamper | None = None) -> bool:
    """Start a wiped replica from a peer's newest snapshot instead of from the first block. With `tamper`, every chunk comes
    bent at first, and must be refused. False when no peer has a snapshot that a light client could vouch for."""
    offered = [
        (offer, peer)
        for peer in peers
        for offer in peer.call("list_snapshots", abci.RequestListSnapshots()).snapshots
        if offer.height < len(chain)
    ]
    if not offered:
        return False
    offer, peer = max(offered, key=lambda entry: (entry[0].height, entry[1].name))
    trusted = chain[offer.height - 1].app_hash
    replica.begin_empty()
    wrong = abci.RequestOfferSnapshot(snapshot=offer, app_hash=bytes(32))
    if replica.call("offer_snapshot", wrong).result == ACCEPT:
        raise Diverged(f"{replica.name} accepts a snapshot of another app hash than the trusted one")
    if replica.call("offer_snapshot", abci.RequestOfferSnapshot(snapshot=offer, app_hash=trusted)).result != ACCEPT:
        raise Diverged(f"{replica.name} refuses {peer.name}'s snapshot of height {offer.height}")
    for index in range(offer.chunks):
        fetch = abci.RequestLoadSnapshotChunk(height=offer.height, format=offer.format, chunk=index)
        raw = peer.call("load_snapshot_chunk", fetch).chunk
        if tamper is not None and tamper(raw) != raw:
            bent = abci.RequestApplySnapshotChunk(index=index, chunk=tamper(raw), sender="mallory")
            answer = replica.call("apply_snapshot_chunk", bent)
            if answer.result != RETRY or list(answer.refetch_chunks) != [index] or "mallory" not in answer.reject_senders:
                raise Diverged(f"{replica.name} answers {answer} to a bent chunk")
        good = abci.RequestApplySnapshotChunk(index=index, chunk=raw, sender=peer.name)
        if replica.call("apply_snapshot_chunk", good).result != ACCEPT:
            raise Diverged(f"{replica.name} refuses chunk {index} of height {offer.height}")
    info = replica.call("info", abci.RequestInfo())
    if (info.last_block_height, info.last_block_app_hash) != (offer.height, trusted):
        raise Diverged(f"{replica.name} restored {info} instead of height {offer.height}")
    replica.stored = replica.state = offer.height
    return True
