"""Replicas of a group come to agree whatever the network does, and believe nobody who may not be believed."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.codec import decode, encode
from network.crypto import SigningKey
from network.fingerprint import ChunkPlan
from network.hrdelta import (
    MAX_DELTA,
    Ack,
    Change,
    ChangeKind,
    Hello,
    LoadReport,
    Post,
    Refused,
    Section,
    Signed,
    SignedKind,
    Update,
    sign,
)
from network.hrindex import HRIndex
from network.hrjournal import LOG_LENGTH
from network.hrsync import CLOCK_TOLERANCE_MS, MAX_HELD_NODES, Sync
from network.ids import node_id

KEYS = [SigningKey(bytes([number + 1] * 32)) for number in range(3)]
IDS = [node_id(key.public) for key in KEYS]
WALL = 1_700_000_000_000


def make(number: int, *, incarnation: int = 1, group: str = "m", chain: str = "chain") -> Sync:
    sync = Sync(IDS[number], KEYS[number], HRIndex(chain, group, ChunkPlan((), 4)), incarnation)
    sync.set_members({IDS[other]: KEYS[other].public for other in range(3) if other != number})
    return sync


def hold(sync: Sync, path: bytes, now: float = 1.0) -> None:
    sync.index.tree(0).insert(path, sync.own, now)
    sync.journal.record(0, ChangeKind.HOLD, path)


def drop(sync: Sync, path: bytes) -> None:
    sync.index.tree(0).remove_path(path, sync.own)
    sync.journal.record(0, ChangeKind.DROP, path)


def fetch(sender: Sync, receiver: Sync) -> None:
    raw = sender.on_snapshot_request(receiver.hello_for(sender.own, WALL), WALL)
    receiver.on_snapshot(sender.own, raw, 1.0)


def exchange(sender: Sync, receiver: Sync, *, lost: bool = False, ack_lost: bool = False) -> None:
    """One POST /group/delta as the shell does it, with either half lost on the way."""
    raw = sender.post_for(receiver.own, WALL)
    if lost:
        return
    received = receiver.on_post(raw, 1.0, WALL)
    if received.needs_snapshot:
        fetch(sender, receiver)
    if not ack_lost and sender.on_ack(receiver.own, received.ack, 1.0):
        fetch(receiver, sender)


def claims(sync: Sync) -> dict[bytes, list[bytes]]:
    return {node: [path for _, path in sync.index.tree(0).paths(node)] for node in IDS}


steps = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 2),
        st.sampled_from(["hold", "hold", "drop", "flush", "send", "lose", "lose-ack", "snapshot"]),
        st.lists(st.integers(0, 2), min_size=1, max_size=4).map(bytes),
    ),
    max_size=80,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_replicas_converge_under_loss_and_reordering(plan: list[tuple[int, int, str, bytes]]) -> None:
    group = [make(number) for number in range(3)]
    for one, two, what, path in plan:
        sender, receiver = group[one], group[two]
        if what == "hold":
            hold(sender, path)
        elif what == "drop":
            drop(sender, path)
        elif what == "flush":
            sender.journal.flush()
        elif sender is not receiver:
            if what == "snapshot":
                fetch(sender, receiver)
            else:
                exchange(sender, receiver, lost=what == "lose", ack_lost=what == "lose-ack")
    for sync in group:
        sync.journal.flush()
    for _ in range(3):
        for sender in group:
            for receiver in group:
                if sender is not receiver:
                    exchange(sender, receiver)
    for sync in group:
        sync.index.check_integrity()
        assert claims(sync) == claims(group[0])
        assert not any(replica.behind for replica in sync.replicas.values())
        assert all(replica.acked == sync.journal.sequence for replica in sync.replicas.values())


def test_transcript_of_a_quiet_group() -> None:
    """Nothing new: the post carries no delta, the answer says so, and nobody fetches anything."""
    one, two = make(0), make(1)
    post = decode(Post, one.post_for(two.own, WALL))
    assert post.deltas == ()
    received = two.on_post(encode(post), 5.0, WALL)
    assert (received.ack, received.needs_snapshot) == (Ack(1, 0, 1, 0), False)
    assert not one.on_ack(two.own, received.ack, 5.0)
    assert two.replicas[one.own].contact_at == 5.0
    assert one.replicas[two.own].reachable


def test_a_gap_within_the_log_is_filled_from_the_log() -> None:
    one, two = make(0), make(1)
    for path in (b"\x01", b"\x02", b"\x03"):
        hold(one, path)
        one.journal.flush()
    one.replicas[two.own].acked = 2
    exchange(one, two)
    assert two.counts["gaps"] == 1
    assert one.replicas[two.own].acked == 0
    exchange(one, two)
    assert claims(two)[one.own] == [b"\x01", b"\x02", b"\x03"]
    assert two.counts["snapshots"] == 0


def test_a_gap_beyond_the_log_asks_for_the_snapshot() -> None:
    one, two = make(0), make(1)
    for number in range(LOG_LENGTH * 2):
        hold(one, bytes([number]))
        one.journal.flush()
    received = two.on_post(one.post_for(two.own, WALL), 1.0, WALL)
    assert received.needs_snapshot
    fetch(one, two)
    assert two.replicas[one.own].sequence == LOG_LENGTH * 2
    assert claims(two) == claims(one)


def test_replays_are_counted_and_change_nothing() -> None:
    one, two = make(0), make(1)
    hold(one, b"\x01\x02")
    one.journal.flush()
    raw = one.post_for(two.own, WALL)
    two.on_post(raw, 1.0, WALL)
    snapshot = encode(one.journal.snapshot())
    drop(one, b"\x01")
    one.journal.flush()
    exchange(one, two)
    assert claims(two)[one.own] == []
    two.on_post(raw, 2.0, WALL)
    assert not two.on_snapshot(one.own, snapshot, 2.0)
    assert claims(two)[one.own] == []
    assert two.counts["stale"] == 3


def test_a_restart_voids_what_was_said_before() -> None:
    one, two = make(0), make(1)
    hold(one, b"\x01")
    one.journal.report(LoadReport(running=3))
    one.journal.flush()
    old = one.post_for(two.own, WALL)
    two.on_post(old, 1.0, WALL)
    again = make(0, incarnation=2)
    exchange(again, two)
    assert claims(two)[one.own] == []
    assert two.replicas[one.own].load is None
    two.on_post(old, 1.0, WALL)
    assert claims(two)[one.own] == []


def test_loads_ride_along() -> None:
    one, two = make(0), make(1)
    one.journal.report(LoadReport(running=2, queued_tokens=700))
    assert one.journal.flush() == 1
    one.journal.report(LoadReport(running=2, queued_tokens=700))
    assert one.journal.flush() == 0
    exchange(one, two)
    assert two.replicas[one.own].load == LoadReport(running=2, queued_tokens=700)


def test_two_deltas_under_one_number_convict() -> None:
    one, other, two = make(0), make(0), make(1)
    hold(one, b"\x01")
    hold(other, b"\x02")
    for sync in (one, other):
        sync.journal.flush()
    exchange(one, two)
    with pytest.raises(Refused) as refused:
        exchange(other, two)
    assert refused.value.reason == "equivocation"
    proof = two.replicas[one.own].proof
    assert proof is not None
    assert proof[0].body != proof[1].body
    assert claims(two)[one.own] == []
    with pytest.raises(Refused):
        exchange(one, two)


def test_who_leaves_the_directory_is_forgotten() -> None:
    one, two = make(0), make(1)
    hold(one, b"\x01")
    one.journal.flush()
    exchange(one, two)
    two.set_members({IDS[2]: KEYS[2].public})
    assert claims(two)[one.own] == []
    with pytest.raises(Refused) as refused:
        two.on_post(one.post_for(two.own, WALL), 1.0, WALL)
    assert refused.value.reason == "unknown-sender"
    assert not two.on_ack(one.own, Ack(1, 1, 1, 1), 1.0)


def _post(sync: Sync, target: bytes, *deltas: Signed, **changed: object) -> bytes:
    hello = Hello("m", sync.own, target, WALL, 1, len(deltas), 1, 0, 0)
    return encode(Post(sign(SignedKind.HELLO, replace(hello, **changed), KEYS[0], "chain"), deltas))  # type: ignore[arg-type]


def _delta(**changed: object) -> Signed:
    update = Update(
        "m", IDS[0], 1, 1, (Section(0, HRIndex("chain", "m", ChunkPlan((), 4)).space(0).id, (Change(1, 0, b"x"),)),)
    )
    return sign(SignedKind.DELTA, replace(update, **changed), KEYS[0], "chain")  # type: ignore[arg-type]


def _forged() -> Signed:
    delta = _delta()
    return Signed(delta.kind, delta.body, bytes(64))


HUGE = tuple(Change(1, 0, bytes([1]) * 4000) for _ in range(200))


@pytest.mark.parametrize(
    ("reason", "build"),
    [
        ("foreign-group", lambda one, two: _post(one, two, group="other")),
        ("foreign-group", lambda one, two: _post(one, two, _delta(group="other"))),
        ("not-for-us", lambda one, two: _post(one, IDS[2])),
        ("clock", lambda one, two: _post(one, two, time_ms=WALL - CLOCK_TOLERANCE_MS - 1)),
        ("clock", lambda one, two: _post(one, two, time_ms=WALL + CLOCK_TOLERANCE_MS + 1)),
        ("unknown-sender", lambda one, two: _post(one, two, origin=bytes(20))),
        ("signature", lambda one, two: _post(one, two, origin=IDS[2])),
        ("signature", lambda one, two: _post(one, two, _forged())),
        ("garbage", lambda one, two: _post(one, two, _delta(origin=IDS[2]))),
        ("garbage", lambda one, two: _post(one, two, _delta(sections=(Section(0, bytes(8), (Change(1, 3, b"x"),)),)))),
        ("oversized", lambda one, two: _post(one, two, _delta(group="m" * 100, sections=(Section(0, b"", HUGE[:9]),)))),
        ("garbage", lambda one, two: b"\x0a\x00"),
        ("garbage", lambda one, two: encode(Post(None, (_delta(),)))),
    ],
)
def test_bad_posts_are_refused_and_change_nothing(reason: str, build: Callable[[Sync, bytes], bytes]) -> None:
    one, two = make(0), make(1)
    with pytest.raises(Refused) as refused:
        two.on_post(build(one, two.own), 1.0, WALL)
    assert refused.value.reason == reason
    assert len(two.index) == 0
    assert two.replicas[one.own].sequence == 0


def test_an_update_that_unfolds_into_too_much_is_refused() -> None:
    many = (Change(1, 0, bytes(4000)), *[Change(1, 3999, b"\x01")] * 1000)
    two = make(1)
    raw = _post(make(0), two.own, _delta(sections=(Section(0, bytes(8), many),)))
    assert len(raw) < MAX_DELTA
    with pytest.raises(Refused) as refused:
        two.on_post(raw, 1.0, WALL)
    assert refused.value.reason == "oversized"


@pytest.mark.parametrize("section", [Section(0, bytes(8), (Change(1, 0, b"x"),)), Section(9, bytes(8), (Change(1, 0, b"x"),))])
def test_foreign_fingerprints_are_skipped_but_the_log_goes_on(section: Section) -> None:
    one, two = make(0), make(1)
    two.on_post(_post(one, two.own, _delta(sections=(section,))), 1.0, WALL)
    assert two.counts["foreign-space"] == 1
    assert len(two.index) == 0
    assert two.replicas[one.own].sequence == 1


def test_nobody_fills_the_tree_alone() -> None:
    one, two = make(0), make(1)
    exchange(one, two)
    tree = two.index.tree(0)
    for number in range(MAX_HELD_NODES // 2000 + 1):
        tree.insert(bytes([number]) * 2000, one.own, 1.0)
    held = two.index.held(one.own)
    two.on_post(_post(one, two.own, _delta()), 1.0, WALL)
    assert two.index.held(one.own) == held
    assert two.counts["quota"] == 1


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=4), st.booleans())
def test_no_damage_gets_further_than_a_refusal(at: int, noise: bytes, cut: bool) -> None:
    """A post or a snapshot damaged anywhere is refused, or was not damaged: nothing else is raised, the tree stays whole."""
    one, two = make(0), make(1)
    for number in range(4):
        hold(one, bytes([number]) * 9)
    one.journal.report(LoadReport(running=1))
    one.journal.flush()
    post, snapshot = one.post_for(two.own, WALL), encode(one.journal.snapshot())
    for raw, take in (
        (post, lambda raw: two.on_post(raw, 1.0, WALL)),
        (snapshot, lambda raw: two.on_snapshot(one.own, raw, 1.0)),
    ):
        place = at % len(raw)
        damaged = raw[:place] if cut else raw[:place] + noise + raw[place + len(noise) :]
        try:
            take(damaged)
        except Refused:
            assert damaged != raw
        two.index.check_integrity()


def test_a_snapshot_must_be_its_own_signed_by_its_owner() -> None:
    one, two = make(0), make(1)
    hold(one, b"\x01")
    one.journal.flush()
    raw = encode(one.journal.snapshot())
    for peer, body in ((IDS[2], raw), (one.own, raw[:-1]), (one.own, encode(_delta())), (bytes(20), raw)):
        with pytest.raises(Refused):
            two.on_snapshot(peer, body, 1.0)
    assert claims(two)[one.own] == []
    with pytest.raises(Refused) as refused:
        one.on_snapshot_request(two.hello_for(IDS[2], WALL), WALL)
    assert refused.value.reason == "not-for-us"


def test_each_exchange_says_whose_terms_are_held() -> None:
    one, two = make(0), make(1)
    one.terms, two.terms = b"terms-01", b"terms-02"
    exchange(one, two)
    assert two.replicas[one.own].terms == b"terms-01"
    assert one.replicas[two.own].terms == b"terms-02"


def test_a_new_space_reads_again_what_was_skipped() -> None:
    one, two = make(0), make(1)
    two.index.adopt(0, ChunkPlan((), 5), b"")
    hold(one, b"abc")
    one.journal.flush()
    exchange(one, two)
    assert two.counts["foreign-space"] == 1
    assert 0 in two.index.adopt(0, ChunkPlan((), 4), b"")
    two.changed_space(0)
    exchange(two, one)
    exchange(one, two)
    assert claims(two)[one.own] == [b"abc"]
    hold(two, b"old")
    two.changed_space(0)
    assert not two.journal.dirty
