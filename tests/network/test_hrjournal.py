"""A node's own log: numbering, coalescing, bounds."""

from network.codec import decode
from network.crypto import SigningKey
from network.fingerprint import ChunkPlan
from network.hrdelta import MAX_DELTA, MAX_SNAPSHOT, MAX_SNAPSHOT_SYMBOLS, ChangeKind, LoadReport, Signed, Update, unfold
from network.hrindex import HRIndex
from network.hrjournal import CHANGES_PER_DELTA, LOG_LENGTH, Journal
from network.ids import node_id

KEY = SigningKey(bytes([1] * 32))
OWN = node_id(KEY.public)


def journal() -> Journal:
    return Journal(OWN, KEY, HRIndex("chain", "m", ChunkPlan((), 4)), 5)


def content(signed: Signed) -> list[tuple[ChangeKind, bytes]]:
    return [
        change for section in decode(Update, signed.body).sections for change in unfold(section.changes, MAX_SNAPSHOT_SYMBOLS)
    ]


def test_changes_wait_for_the_flush_and_get_one_number() -> None:
    log = journal()
    assert (log.flush(), log.sequence, log.oldest) == (0, 0, 1)
    log.record(0, ChangeKind.HOLD, b"\x01")
    log.record(0, ChangeKind.HOLD, b"\x01\x02")
    log.record(0, ChangeKind.DROP, b"\x01\x02")
    log.report(LoadReport(running=1))
    assert log.dirty
    assert log.flush() == 1
    assert not log.dirty
    (delta,) = log.since(0)
    assert content(delta) == [(ChangeKind.HOLD, b"\x01\x02"), (ChangeKind.DROP, b"\x01\x02")]
    assert decode(Update, delta.body).load == LoadReport(running=1)


def test_a_burst_becomes_several_bounded_deltas() -> None:
    log = journal()
    for number in range(CHANGES_PER_DELTA * 2):
        log.record(0, ChangeKind.HOLD, number.to_bytes(2, "big") * 40)
    for number in range(10):
        log.record(1, ChangeKind.HOLD, bytes([number]) * 4096)
    made = log.flush()
    assert made == log.sequence >= 4
    assert all(len(signed.body) <= MAX_DELTA for signed in log.since(0))
    assert sum(len(content(signed)) for signed in log.since(0)) == CHANGES_PER_DELTA * 2 + 10


def test_the_log_is_bounded_and_says_from_where() -> None:
    log = journal()
    for number in range(LOG_LENGTH + 10):
        log.record(0, ChangeKind.HOLD, number.to_bytes(2, "big"))
        log.flush()
    assert log.oldest == 11
    assert len(log.since(0)) == LOG_LENGTH
    assert [decode(Update, signed.body).sequence for signed in log.since(LOG_LENGTH + 8)] == [LOG_LENGTH + 9, LOG_LENGTH + 10]
    assert log.since(log.sequence) == ()


def test_a_snapshot_too_long_keeps_the_newest() -> None:
    index = HRIndex("chain", "m", ChunkPlan((), 4))
    log = Journal(OWN, KEY, index, 5)
    for number in range(30_000):
        index.tree(0).insert(number.to_bytes(3, "big"), OWN, float(number))
    snapshot = log.snapshot()
    assert len(snapshot.body) <= MAX_SNAPSHOT
    held = {path for _, path in content(snapshot)}
    assert (29_999).to_bytes(3, "big") in held
    assert (0).to_bytes(3, "big") not in held
