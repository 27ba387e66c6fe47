"""A node's own log: numbering, coalescing, bounds, seals."""

from network.codec import decode
from network.crypto import SigningKey
from network.hrtree.delta import (
    MAX_DELTA,
    MAX_SNAPSHOT,
    ChangeKind,
    Delta,
    Head,
    LoadReport,
    Section,
    SignedKind,
    Snapshot,
    check_signature,
    first_link,
    next_link,
)
from network.hrtree.fingerprint import ChunkPlan
from network.hrtree.index import HRIndex
from network.hrtree.journal import CHANGES_PER_DELTA, LOG_LENGTH, SEAL_EVERY, Entry, Journal, digest, leaves, page_digests
from network.hrtree.load import load_of
from network.hrtree.recent import Change, Recent, read_paths, read_section
from network.ids import node_id

KEY = SigningKey(bytes([1] * 32))
OWN = node_id(KEY.public)


def journal() -> Journal:
    return Journal(OWN, KEY, HRIndex("chain", "m", ChunkPlan((), 4)), 5)


def content(entries: tuple[Entry, ...]) -> list[Change]:
    """What a receiver of all of them reads."""
    recent, changes, last = Recent(), [], (0, b"")
    for entry in entries:
        for section in decode(Delta, entry.body).sections:
            last = (section.generation, section.space) if section.space else last
            changes += read_section(recent, Section(*last, section.codes, section.symbols), 10**6)
    return changes


def test_changes_wait_for_the_flush_and_get_one_number() -> None:
    log = journal()
    assert (log.flush(), log.sequence, log.oldest) == (0, 0, 1)
    log.record(0, ChangeKind.HOLD, b"\x01")
    log.record(0, ChangeKind.HOLD, b"\x01\x02")
    log.record(0, ChangeKind.HOLD, b"\x03")
    log.record(0, ChangeKind.HOLD, b"\x01")
    log.record(0, ChangeKind.DROP, b"\x01\x02")
    log.report(LoadReport(running=1))
    assert log.dirty
    assert log.flush() == 1
    assert not log.dirty
    (entry,) = log.since(0)
    assert content((entry,)) == [
        (0, ChangeKind.HOLD, b"\x03"),
        (0, ChangeKind.HOLD, b"\x01\x02"),
        (0, ChangeKind.DROP, b"\x01\x02"),
    ] or content((entry,)) == [
        (0, ChangeKind.HOLD, b"\x01\x02"),
        (0, ChangeKind.HOLD, b"\x03"),
        (0, ChangeKind.DROP, b"\x01\x02"),
    ]
    assert load_of(decode(Delta, entry.body).load) == LoadReport(running=1)


def test_a_load_nobody_could_tell_from_the_last_is_not_told() -> None:
    log = journal()
    log.report(LoadReport(capacity_milli=1_000_000))
    assert log.flush() == 1
    log.report(LoadReport(capacity_milli=1_001_000))
    assert not log.dirty
    log.report(LoadReport())
    assert log.flush() == 1
    assert load_of(decode(Delta, log.since(1)[0].body).load) == LoadReport()


def test_a_burst_becomes_several_bounded_deltas() -> None:
    log = journal()
    for number in range(CHANGES_PER_DELTA * 2):
        log.record(0, ChangeKind.HOLD, number.to_bytes(2, "big") * 40)
    for number in range(10):
        log.record(1, ChangeKind.HOLD, bytes([number]) * 4096)
    made = log.flush()
    assert made == log.sequence >= 4
    assert all(len(entry.body) <= MAX_DELTA for entry in log.since(0))
    assert len(content(log.since(0))) == CHANGES_PER_DELTA * 2 + 10


def test_the_log_is_bounded_and_says_from_where() -> None:
    log = journal()
    for number in range(LOG_LENGTH + 10):
        log.record(0, ChangeKind.HOLD, number.to_bytes(2, "big"))
        log.flush()
    assert log.oldest == 11
    assert len(log.since(10)) == LOG_LENGTH
    assert len(log.since(LOG_LENGTH + 8)) == 2
    assert log.since(9) == log.since(log.sequence) == ()


def test_seals_come_in_time_and_sign_the_whole_chain() -> None:
    log = journal()
    chain = first_link("m", OWN, 5)
    for number in range(SEAL_EVERY * 2 + 1):
        log._index.tree(0).insert(bytes([number]), OWN, 1.0)
        log.record(0, ChangeKind.HOLD, bytes([number]))
        log.flush()
        entry = log.since(number)[0]
        chain = next_link(chain, entry.body)
        delta = decode(Delta, entry.body)
        assert delta.sealed == bool(entry.signature) == bool(delta.seals) == ((number + 1) % SEAL_EVERY == 0)
        if delta.sealed:
            assert delta.seals[0].digest == digest(leaves(log._index, 0, OWN))
            head = log.head()
            assert head.signature == entry.signature
            found = decode(Head, check_signature(head, SignedKind.HEAD, KEY.public, "chain"))
            assert (found.sequence, found.chain) == (number + 1, chain)
    log.seal()
    assert log.flush() == 1
    assert decode(Delta, log.since(log.sequence - 1)[0].body).sealed
    log.seal()
    assert not log.dirty


def test_another_space_is_announced_and_what_was_noted_in_the_old_is_not() -> None:
    log = journal()
    log.record(0, ChangeKind.HOLD, b"\x01")
    log.flush()
    log._index.adopt(0, ChunkPlan((), 5), b"")
    log.forget(0)
    assert log.dirty
    log.flush()
    (section,) = decode(Delta, log.since(1)[0].body).sections
    assert (section.space, section.codes) == (log._index.space(0).id, ())
    log._index.advance(1)
    assert log.flush() == 1
    assert not log.dirty


def test_a_snapshot_has_all_or_the_pages_that_differ() -> None:
    log = journal()
    for number in range(60):
        log._index.tree(0).insert(bytes([number, 1]), OWN, 1.0)
        log.record(0, ChangeKind.HOLD, bytes([number, 1]))
    whole = decode(Snapshot, log.snapshot().body)
    assert (whole.sequence, whole.partial) == (1, False)
    assert [path for path, _, held in read_paths(whole.sections[0], 10**6) if held] == [bytes([n, 1]) for n in range(60)]
    ours = {0: leaves(log._index, 0, OWN)}
    same = decode(Snapshot, log.snapshot(page_digests(ours)).body)
    assert (same.partial, same.pages) == (True, 0)
    del ours[0][bytes([7, 1])]
    part = decode(Snapshot, log.snapshot(page_digests(ours)).body)
    assert part.pages.bit_count() == 1
    assert bytes([7, 1]) in [path for path, _, held in read_paths(part.sections[0], 10**6) if held]


def test_a_snapshot_too_long_keeps_the_newest() -> None:
    index = HRIndex("chain", "m", ChunkPlan((), 4))
    log = Journal(OWN, KEY, index, 5)
    for number in range(30_000):
        index.tree(0).insert(number.to_bytes(3, "big"), OWN, float(number))
    snapshot = log.snapshot()
    assert len(snapshot.body) <= MAX_SNAPSHOT
    held = {path for path, _, _ in read_paths(decode(Snapshot, snapshot.body).sections[0], 10**6)}
    assert (29_999).to_bytes(3, "big") in held
    assert (0).to_bytes(3, "big") not in held
