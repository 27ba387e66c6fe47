"""The receiving side against every lie a peer can tell: what is refused, what it costs, and that the honest one still wins."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app import snapshot as snapshots
from abci_app.snapshot import CHUNK_LIMIT, Chunk, Part, Snapshot, encode_rows, take
from abci_app.state.app_hash import DEPTH, app_hash, leaf_index
from abci_app.state_sync import EMPTY_SHELF, Applied, Offer, Outcome, Restore, Verdict, offer_of
from abci_app.tree import Tree
from network.crypto import sha256

CHAIN = "sync-test"
ROWS = {b"key %d" % number: b"value %d" % number for number in range(120)}


@dataclass
class Side:
    """A store in memory that counts what is written."""

    nodes: dict[bytes, bytes] = field(default_factory=dict)
    rows: dict[bytes, bytes] = field(default_factory=dict)
    ended: str = ""

    def add(self, rows: Iterable[tuple[bytes, bytes | None]], nodes: Iterable[tuple[bytes, bytes | None]]) -> None:
        for held, changes in ((self.rows, rows), (self.nodes, nodes)):
            for key, value in changes:
                held.pop(key, None) if value is None else held.__setitem__(key, value)

    def finish(self) -> None:
        assert not self.ended
        self.ended = "finished"

    def drop(self) -> None:
        assert not self.ended
        self.ended = "dropped"


@dataclass
class Syncing:
    """A restore, the sides it has opened, and the honest snapshot."""

    restore: Restore
    sides: list[Side]
    snapshot: Snapshot
    chunks: list[bytes]

    @property
    def honest(self) -> Offer:
        return offer_of(self.snapshot)

    def offer(self, offer: Offer) -> Verdict:
        return self.restore.offer(offer, self.snapshot.app_hash)


def taken(rows: dict[bytes, bytes], height: int = 50, chain_id: str = CHAIN) -> tuple[Snapshot, list[bytes]]:
    source = Side()
    source.add(rows.items(), Tree({}).update(rows.items())[1].items())

    class Version:
        nodes = source.nodes
        get = source.rows.get

        @staticmethod
        def scan(prefix: bytes) -> Iterable[tuple[bytes, bytes]]:
            return iter(sorted(source.rows.items()))

    expected = app_hash(Tree(source.nodes).root())
    steps = list(take(Version, chain_id, height, expected))  # type: ignore[arg-type]
    assert isinstance(steps[-1], Snapshot)
    return steps[-1], [step.raw for step in steps if isinstance(step, Chunk)]


@pytest.fixture
def syncing(monkeypatch: pytest.MonkeyPatch) -> Syncing:
    monkeypatch.setattr(snapshots, "CHUNK_TARGET", 500)
    sides: list[Side] = []

    def restoring(height: int, trusted: bytes) -> Side:
        sides.append(Side())
        return sides[-1]

    snapshot, chunks = taken(ROWS)
    assert len(chunks) >= 5
    return Syncing(Restore(CHAIN, restoring), sides, snapshot, chunks)


def finish(syncing: Syncing) -> None:
    """The honest snapshot succeeds from here."""
    assert syncing.offer(syncing.honest) is Verdict.ACCEPT
    for index, chunk in enumerate(syncing.chunks):
        assert syncing.restore.running
        assert syncing.restore.apply(index, chunk, "honest") == Applied(Outcome.ACCEPT)
    side = syncing.sides[-1]
    assert (side.ended, side.rows) == ("finished", ROWS)
    assert app_hash(Tree(side.nodes).root()) == syncing.snapshot.app_hash
    assert side.nodes == {k: v for k, v in Tree({}).update(ROWS.items())[1].items() if v is not None}
    assert not syncing.restore.running


def test_the_honest_way(syncing: Syncing) -> None:
    finish(syncing)
    assert syncing.restore.apply(0, syncing.chunks[0], "late") == Applied(Outcome.ABORT)


def test_chunks_may_come_twice_and_in_any_order(syncing: Syncing) -> None:
    assert syncing.offer(syncing.honest) is Verdict.ACCEPT
    order = [*reversed(range(1, len(syncing.chunks))), 1, 0]
    for index in order:
        assert syncing.restore.apply(index, syncing.chunks[index], "p").outcome is Outcome.ACCEPT
    assert syncing.sides[-1].ended == "finished" and syncing.sides[-1].rows == ROWS


def lies(honest: Offer, snapshot: Snapshot) -> dict[str, tuple[Offer, Verdict]]:
    other, _ = taken({**ROWS, b"key 7": b"forged"})
    elsewhere, _ = taken(ROWS, chain_id="another")
    flooded = replace(snapshot, parts=snapshot.parts * 1000)
    return {
        "another format": (honest._replace(format=2), Verdict.REJECT_FORMAT),
        "no metadata": (honest._replace(metadata=b""), Verdict.REJECT_SENDER),
        "garbage": (honest._replace(metadata=b"\x0a\xff" * 500), Verdict.REJECT_SENDER),
        "one byte more": (honest._replace(metadata=honest.metadata + b"\x00"), Verdict.REJECT_SENDER),
        "another height": (honest._replace(height=51), Verdict.REJECT_SENDER),
        "fewer chunks": (honest._replace(chunks=honest.chunks - 1), Verdict.REJECT_SENDER),
        "endless chunks": (honest._replace(chunks=100_000), Verdict.REJECT_SENDER),
        "endless parts": (offer_of(flooded), Verdict.REJECT_SENDER),
        "another hash": (honest._replace(hash=bytes(32)), Verdict.REJECT_SENDER),
        "a forged state": (offer_of(other), Verdict.REJECT_SENDER),
        "another chain's": (offer_of(elsewhere), Verdict.REJECT_SENDER),
        "the right app hash over a forged state": (
            offer_of(replace(other, app_hash=snapshot.app_hash)),
            Verdict.REJECT_SENDER,
        ),
    }


@pytest.mark.parametrize("lie", sorted(lies(Offer(1, 1, 1, b"", b""), taken(ROWS)[0])))
def test_false_metadata_is_refused_before_a_chunk_is_fetched(syncing: Syncing, lie: str) -> None:
    offer, verdict = lies(syncing.honest, syncing.snapshot)[lie]
    assert syncing.offer(offer) is verdict
    assert not syncing.sides and not syncing.restore.running, "nothing was opened on disk"
    finish(syncing)


def test_a_snapshot_of_another_height_than_the_trusted_app_hash_is_refused(syncing: Syncing) -> None:
    assert syncing.restore.offer(syncing.honest, sha256(b"another height's")) is Verdict.REJECT_SENDER


@pytest.mark.parametrize("lie", ["bit", "empty", "longer", "other chunk", "other chain", "zeros", "too large"])
def test_a_false_chunk_costs_its_sender_and_is_fetched_again(syncing: Syncing, lie: str) -> None:
    assert syncing.offer(syncing.honest) is Verdict.ACCEPT
    assert syncing.restore.apply(0, syncing.chunks[0], "honest").outcome is Outcome.ACCEPT
    right = syncing.chunks[1]
    wrong = {
        "bit": right[:-1] + bytes([right[-1] ^ 1]),
        "empty": b"",
        "longer": right + b"\x00",
        "other chunk": syncing.chunks[2],
        "other chain": taken({**ROWS, b"key 7": b"forged"})[1][1] + b"",
        "zeros": bytes(1_000_000),
        "too large": bytes(CHUNK_LIMIT + 1),
    }[lie]
    if wrong == right:
        wrong = right[:-1]
    written = dict(syncing.sides[-1].rows)
    assert syncing.restore.apply(1, wrong, "liar") == Applied(Outcome.RETRY, (1,), ("liar",))
    assert syncing.sides[-1].rows == written, "nothing of it was written"
    for index in range(1, len(syncing.chunks)):
        assert syncing.restore.apply(index, syncing.chunks[index], "honest").outcome is Outcome.ACCEPT
    assert syncing.sides[-1].rows == ROWS


def forged_row(rows: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(rows[0][0], b"forged"), *rows[1:]]


def foreign_row(rows: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(b"foreign", b"row")]


@pytest.mark.parametrize(
    "forge", [forged_row, lambda rows: rows[1:], lambda rows: [], lambda rows: rows * 2, lambda rows: rows[::-1], foreign_row]
)
def test_a_list_that_names_the_hash_of_a_false_chunk_is_refused_with_its_first_chunk(
    syncing: Syncing, forge: Callable[[list[tuple[bytes, bytes]]], list[tuple[bytes, bytes]]]
) -> None:
    """The subtrees are right, or the list would have been refused; but a chunk's hash is what the peer says it is."""
    snapshot = syncing.snapshot
    part = snapshot.parts[0]
    held = [row for row in ROWS.items() if leaf_index(row[0]) >> (DEPTH - part.depth) == part.prefix]
    bad = encode_rows(forge(sorted(held, key=lambda row: leaf_index(row[0]))))
    forged = replace(snapshot, parts=(Part(*part[:3], sha256(bad)), *snapshot.parts[1:]))
    assert syncing.offer(offer_of(forged)) is Verdict.ACCEPT, "nothing yet says that it lies"
    assert syncing.restore.apply(0, bad, "liar") == Applied(Outcome.REJECT_SNAPSHOT, rejected=("liar",))
    assert syncing.sides[-1].ended == "dropped" and not syncing.sides[-1].rows
    finish(syncing)


def test_indices_that_do_not_exist_end_the_sync(syncing: Syncing) -> None:
    assert syncing.restore.apply(0, syncing.chunks[0], "p") == Applied(Outcome.ABORT)
    assert syncing.offer(syncing.honest) is Verdict.ACCEPT
    assert syncing.restore.apply(len(syncing.chunks), b"x", "p") == Applied(Outcome.ABORT)


def test_a_new_offer_drops_what_was_begun(syncing: Syncing) -> None:
    assert syncing.offer(syncing.honest) is Verdict.ACCEPT
    syncing.restore.apply(0, syncing.chunks[0], "p")
    assert syncing.offer(syncing.honest._replace(format=9)) is Verdict.REJECT_FORMAT
    assert syncing.sides[-1].ended == "dropped"
    finish(syncing)


@settings(max_examples=100, deadline=None)
@given(metadata=st.binary(max_size=200), chunk=st.binary(max_size=200))
def test_garbage_never_raises(metadata: bytes, chunk: bytes) -> None:
    restore = Restore(CHAIN, lambda height, trusted: Side())
    offer = Offer(50, 1, 1, sha256(metadata), metadata)
    assert restore.offer(offer, bytes(32)) is Verdict.REJECT_SENDER
    assert restore.apply(0, chunk, "p").outcome is Outcome.ABORT


def test_a_replica_without_snapshots_has_none() -> None:
    EMPTY_SHELF.committed(500)
    assert (EMPTY_SHELF.oldest, EMPTY_SHELF.offers(), EMPTY_SHELF.chunk(500, 0)) == (None, (), b"")
