"""Replicas of a group come to agree whatever the network does, and believe nobody who may not be believed."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.codec import decode, encode
from network.crypto import SigningKey
from network.hrtree.delta import (
    MAX_POST,
    Ack,
    ChangeKind,
    Delta,
    Head,
    Hello,
    LoadReport,
    Post,
    Proof,
    Refused,
    Section,
    Signed,
    SignedKind,
    first_link,
    group_tag,
    next_link,
    sign,
)
from network.hrtree.fingerprint import ChunkPlan
from network.hrtree.index import HRIndex
from network.hrtree.journal import LOG_LENGTH, SEAL_EVERY
from network.hrtree.pair import POSTS_BURST, SNAPSHOTS_BURST, Allowed, Pair
from network.hrtree.sync import CLOCK_TOLERANCE_MS, MAX_HELD_NODES, Sync
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
    sender.replicas[receiver.own].allowed = Allowed()
    raw = sender.on_snapshot_request(receiver.hello_for(sender.own, WALL), WALL)
    receiver.on_snapshot(sender.own, raw, 1.0)


def exchange(sender: Sync, receiver: Sync, *, lost: bool = False, ack_lost: bool = False, now: float = 1.0) -> None:
    """One POST /group/delta as the shell does it, with either half lost on the way."""
    raw = sender.post_for(receiver.own, WALL)
    if lost:
        return
    try:
        received = receiver.on_post(raw, now, WALL)
    except Refused as refused:
        if refused.reason != "session":
            raise
        sender.reopen(receiver.own)
        received = receiver.on_post(sender.post_for(receiver.own, WALL), now, WALL)
    if received.needs_snapshot:
        fetch(sender, receiver)
    if not ack_lost and sender.on_ack(receiver.own, received.ack, now):
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
    for step, (one, two, what, path) in enumerate(plan):
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
                exchange(sender, receiver, lost=what == "lose", ack_lost=what == "lose-ack", now=float(step))
    for sync in group:
        sync.journal.flush()
    for sync in group:
        sync.journal.seal()
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
    """Nothing new: the first post opens a session, the next carries nothing at all, and nobody fetches anything."""
    one, two = make(0), make(1)
    raw = one.post_for(two.own, WALL)
    post = decode(Post, raw)
    assert (post.deltas, post.hello.origin, post.count) == ((), one.own, 1)
    received = two.on_post(raw, 5.0, WALL)
    assert (received.ack.short, received.origin, received.needs_snapshot) == (0, one.own, False)
    assert not one.on_ack(two.own, received.ack, 5.0)
    assert two.replicas[one.own].contact_at == 5.0
    assert one.replicas[two.own].reachable
    raw = one.post_for(two.own, WALL)
    assert (decode(Post, raw).hello, len(raw), len(encode(received.ack))) == (None, 18, 10)
    two.on_post(raw, 6.0, WALL)


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


def test_a_gap_beyond_the_log_asks_for_the_snapshot_and_goes_on_by_deltas() -> None:
    one, two = make(0), make(1)
    for number in range(LOG_LENGTH * 2):
        hold(one, bytes([number]))
        one.journal.flush()
    received = two.on_post(one.post_for(two.own, WALL), 1.0, WALL)
    assert received.needs_snapshot
    fetch(one, two)
    assert two.replicas[one.own].sequence == LOG_LENGTH * 2
    assert claims(two) == claims(one)
    exchange(one, two)
    hold(one, bytes([5, 6]))
    drop(one, bytes([100]))
    one.journal.flush()
    exchange(one, two)
    assert claims(two) == claims(one)
    assert two.counts["snapshots"] == two.counts["deltas"] == 1


def test_a_long_backlog_is_told_in_posts_that_may_be_read() -> None:
    """Few bytes may stand for many symbols: an honest backlog must not come as one post that is refused for ever."""
    one, two = make(0), make(1)
    for number in range(40):
        for turn in range(5):
            hold(one, bytes([number]) * 3000 + bytes([turn]))
        one.journal.flush()
    for at in range(4):
        exchange(one, two, now=1.0 + 30 * at)
    assert two.replicas[one.own].sequence == one.journal.sequence == 40
    assert two.counts["snapshots"] == 0


def test_replays_are_refused_and_change_nothing() -> None:
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
    with pytest.raises(Refused) as refused:
        two.on_post(raw, 2.0, WALL)
    assert refused.value.reason == "replay"
    assert not two.on_snapshot(one.own, snapshot, 2.0)
    assert claims(two)[one.own] == []


def test_a_restart_voids_what_was_said_before() -> None:
    one, two = make(0), make(1)
    hold(one, b"\x01")
    one.journal.report(LoadReport(running=3))
    one.journal.flush()
    old = one.post_for(two.own, WALL)
    two.on_post(old, 1.0, WALL)
    hold(two, b"\x09")
    two.journal.flush()
    exchange(two, one)
    again = make(0, incarnation=2)
    exchange(again, two)
    assert claims(two)[one.own] == []
    assert two.replicas[one.own].load is None
    with pytest.raises(Refused):
        two.on_post(old, 1.0, WALL)
    assert claims(two)[one.own] == []
    assert two.replicas[one.own].acked == 0
    exchange(two, again)
    assert claims(again)[two.own] == [b"\x09"]


def test_a_receiver_that_restarts_is_told_everything_again() -> None:
    one, two = make(0), make(1)
    hold(one, b"\x01")
    one.journal.flush()
    exchange(one, two)
    again = make(1, incarnation=2)
    hold(one, b"\x02")
    one.journal.flush()
    exchange(one, again)
    exchange(one, again)
    assert claims(again)[one.own] == [b"\x01", b"\x02"]


def test_loads_ride_along() -> None:
    one, two = make(0), make(1)
    one.journal.report(LoadReport(running=2, queued_tokens=700))
    assert one.journal.flush() == 1
    one.journal.report(LoadReport(running=2, queued_tokens=701))
    assert one.journal.flush() == 0
    exchange(one, two)
    report = two.replicas[one.own].load
    assert report is not None
    assert (report.running, round(report.queued_tokens, -1)) == (2, 700)


def test_copies_that_differ_are_found_by_digest_and_repaired_by_pages() -> None:
    one, two = make(0), make(1)
    for number in range(SEAL_EVERY * 2):
        hold(one, bytes([number, 1]), float(number))
        one.journal.flush()
        if number == SEAL_EVERY:
            two.index.tree(0).remove_path(bytes([3]), one.own)
        exchange(one, two, now=100.0 * number)
    assert two.counts["diverged"] == 1
    assert two.counts["snapshots"] == 1
    assert claims(two) == claims(one)
    hold(one, bytes([3, 1, 2]))
    one.journal.flush()
    exchange(one, two)
    assert claims(two) == claims(one)
    assert two.counts["diverged"] == 1


def test_a_repair_that_does_not_help_waits_longer_each_time() -> None:
    one, two = make(0), make(1)
    fetched = []
    for number in range(SEAL_EVERY * 40):
        hold(one, bytes([number // 200, number % 200]), float(number))
        one.journal.flush()
        two.index.tree(0).remove_path(bytes([0, 0]), one.own)
        before = two.counts["snapshots"]
        exchange(one, two, now=5.0 * number)
        fetched += [number] * (two.counts["snapshots"] - before)
    gaps = [after - at for at, after in itertools.pairwise(fetched)]
    assert two.counts["diverged"] > 3
    assert gaps == sorted(gaps)
    assert len(fetched) <= 8


def _seal(sync: Sync, paths: int) -> None:
    for number in range(paths):
        hold(sync, bytes([number + 1]))
        sync.journal.flush()
    sync.journal.seal()
    sync.journal.flush()


def _equivocate() -> tuple[Sync, Sync, Sync]:
    """A node that runs twice, says one thing to one peer and another to the other, and signs both."""
    one, other = make(0), make(0)
    two, three = make(1), make(2)
    drop(other, b"\x09")
    for sync, peer in ((one, two), (other, three)):
        _seal(sync, 1)
        while sync.journal.sequence < 2:
            sync.journal.report(LoadReport(running=1))
            sync.journal.seal()
            sync.journal.flush()
        exchange(sync, peer)
    return one, two, three


def test_two_histories_are_found_by_what_others_were_shown_and_eject_their_signer_everywhere() -> None:
    one, two, three = _equivocate()
    assert not two.proofs().proofs
    _seal(two, 1)
    exchange(two, three)
    (proof,) = three.proofs().proofs
    assert claims(three)[one.own] == []
    exchange(three, two)
    assert two.proofs().proofs == (proof,)
    assert claims(two)[one.own] == []
    assert (two.counts["ejected"], three.counts["ejected"]) == (1, 1)
    with pytest.raises(Refused) as refused:
        exchange(one, two)
    assert refused.value.reason == "equivocation"
    again = make(0, incarnation=9)
    with pytest.raises(Refused):
        exchange(again, two)
    two.set_members({IDS[2]: KEYS[2].public})
    two.set_members({IDS[other]: KEYS[other].public for other in (0, 2)})
    assert not two.proofs().proofs
    exchange(again, two)


def test_a_proof_is_checked_before_it_ejects() -> None:
    one, two = make(0), make(1)
    link = first_link("m", one.own, 1)

    def head(key: int = 0, **changed: object) -> Signed:
        fields = Head(group_tag("m"), one.own, 1, 1, link)
        return sign(SignedKind.HEAD, replace(fields, **changed), KEYS[key], "chain")  # type: ignore[arg-type]

    other = head(chain=next_link(link, b"x"))
    stranger = bytes(20)
    for proof in (
        Proof(head(), head()),
        Proof(head(), None),
        Proof(head(key=2), other),
        Proof(head(sequence=2), other),
        Proof(head(incarnation=2), other),
        Proof(head(group=b"abcd"), other),
        Proof(head(origin=stranger), other),
    ):
        with pytest.raises(Refused):
            two.on_proof(proof)
    assert not two.counts["ejected"]
    two.on_proof(Proof(head(), other))
    assert two.replicas[one.own].proof is not None


def test_who_leaves_the_directory_is_forgotten() -> None:
    one, two = make(0), make(1)
    hold(one, b"\x01")
    one.journal.flush()
    exchange(one, two)
    two.set_members({IDS[2]: KEYS[2].public})
    assert claims(two)[one.own] == []
    with pytest.raises(Refused) as refused:
        two.on_post(one.post_for(two.own, WALL), 1.0, WALL)
    assert refused.value.reason == "session"
    one.reopen(two.own)
    with pytest.raises(Refused) as refused:
        two.on_post(one.post_for(two.own, WALL), 1.0, WALL)
    assert refused.value.reason == "unknown-sender"
    assert not two.on_ack(one.own, Ack(), 1.0)


def test_answers_are_the_peers_own() -> None:
    one, two = make(0), make(1)
    ack = two.on_post(one.post_for(two.own, WALL), 1.0, WALL).ack
    for forged in (Ack(), replace(ack, short=1), replace(ack, mac=bytes(8))):
        with pytest.raises(Refused) as refused:
            one.on_ack(two.own, forged, 1.0)
        assert refused.value.reason == "signature"
    assert not one.replicas[two.own].reachable
    one.post_for(two.own, WALL)
    with pytest.raises(Refused):
        one.on_ack(two.own, ack, 1.0)


SPACE = HRIndex("chain", "m", ChunkPlan((), 4)).space(0).id
HELD = Section(0, SPACE, (0, 1), b"x")


def _post(target: bytes, *deltas: Delta, key: int = 0, fields: dict[str, object] | None = None, **changed: object) -> bytes:
    """A post of node 0 as no honest node makes it: `changed` is its Hello's, `fields` its own."""
    hello = replace(Hello("m", IDS[0], target, WALL, 1), **changed)  # type: ignore[arg-type]
    pair = Pair(IDS[0], IDS[1], KEYS[key], KEYS[1].public, "chain", "m")
    post = Post(pair.session(hello), 1, len(deltas), tuple(encode(delta) for delta in deltas), hello=hello)
    return pair.seal_post(replace(post, **(fields or {})))  # type: ignore[arg-type]


FAR = (0, 4000) + (2, 0, 0) * 70
BAD = {
    "foreign-group": [lambda two: _post(two, group="other")],
    "not-for-us": [lambda two: _post(IDS[2])],
    "clock": [
        lambda two: _post(two, time_ms=WALL - CLOCK_TOLERANCE_MS - 1),
        lambda two: _post(two, time_ms=WALL + CLOCK_TOLERANCE_MS + 1),
    ],
    "unknown-sender": [lambda two: _post(two, origin=bytes(20))],
    "signature": [
        lambda two: _post(two, origin=IDS[2]),
        lambda two: _post(two, key=2),
        lambda two: _post(two, Delta((HELD,), sealed=True)),
        lambda two: _post(two, Delta((HELD,), sealed=True), fields={"signature": bytes(64)}),
        lambda two: _post(two, fields={"witness": Signed(6, encode(Head(group_tag("m"), IDS[2], 1, 1, bytes(16))), bytes(64))}),
        lambda two: _post(two, Delta((HELD,)))[:-1] + b"\x00",
    ],
    "garbage": [
        lambda two: _post(two, fields={"deltas": (b"\xff",), "sequence": 1}),
        lambda two: _post(two, Delta((replace(HELD, codes=(2, 0, 1)),))),
        lambda two: _post(two, Delta((replace(HELD, space=b""),))),
        lambda two: _post(two, Delta((HELD,), load=(2**16,))),
        lambda two: _post(two, Delta((HELD,)), fields={"sequence": 0}),
        lambda two: _post(two, Delta((HELD,)), fields={"session": b"abcd"}),
        lambda two: _post(two, fields={"witness": Signed(6, b"\xff", bytes(64))}),
        lambda two: b"\x0a\x00",
    ],
    "oversized": [
        lambda two: bytes(MAX_POST + 1),
        lambda two: _post(two, Delta((Section(0, SPACE, FAR, bytes(4000)),))),
        lambda two: _post(two, Delta((HELD, replace(HELD, codes=(0, 4097), symbols=bytes(4097))))),
    ],
    "session": [lambda two: _post(two, fields={"hello": None}), lambda two: encode(Post())],
}


@pytest.mark.parametrize(("reason", "build"), [(reason, build) for reason, builds in BAD.items() for build in builds])
def test_bad_posts_are_refused_and_change_nothing(reason: str, build: Callable[[bytes], bytes]) -> None:
    two = make(1)
    two.on_post(_post(two.own, Delta((HELD,)), incarnation=0, time_ms=WALL - 1), 1.0, WALL)
    before = (claims(two), vars(two.counts), [repr(two.replicas[node].chain) for node in two.replicas])
    with pytest.raises(Refused) as refused:
        two.on_post(build(two.own), 1.0, WALL)
    assert refused.value.reason == reason
    assert (claims(two), vars(two.counts), [repr(two.replicas[node].chain) for node in two.replicas]) == before


def test_deltas_that_are_never_signed_for_are_refused_in_the_end() -> None:
    two = make(1)
    pair = Pair(IDS[0], IDS[1], KEYS[0], KEYS[1].public, "chain", "m")
    hello = Hello("m", IDS[0], IDS[1], WALL, 1)
    delta = encode(Delta((HELD,)))
    with pytest.raises(Refused) as refused:
        for number in range(1, 5):
            post = Post(pair.session(hello), number, number * 64, (delta,) * 64, hello=hello)
            two.on_post(pair.seal_post(post), float(number), WALL)
    assert (refused.value.reason, number) == ("unsealed", 3)


def test_a_member_may_not_post_or_ask_without_end() -> None:
    one, two = make(0), make(1)
    with pytest.raises(Refused) as refused:
        for _ in range(int(POSTS_BURST) + 1):
            two.on_post(one.post_for(two.own, WALL), 1.0, WALL)
    assert refused.value.reason == "quota"
    two.on_post(one.post_for(two.own, WALL), 2.0, WALL)
    with pytest.raises(Refused) as refused:
        for _ in range(int(SNAPSHOTS_BURST) + 1):
            two.on_snapshot_request(one.hello_for(two.own, WALL), WALL)
    assert refused.value.reason == "quota"


def test_few_bytes_may_not_ask_for_work_without_end() -> None:
    two = make(1)
    pair = Pair(IDS[0], IDS[1], KEYS[0], KEYS[1].public, "chain", "m")
    hello = Hello("m", IDS[0], IDS[1], WALL, 1)
    delta = encode(Delta((Section(0, SPACE, (0, 4000) + (2, 0, 0) * 60, bytes(4000)),)))
    with pytest.raises(Refused) as refused:
        for number in range(1, 9):
            raw = pair.seal_post(Post(pair.session(hello), number, number, (delta,), hello=hello))
            two.on_post(raw, 1.0, WALL)
    assert (refused.value.reason, number) == ("quota", 3)


@pytest.mark.parametrize(("generation", "space"), [(0, bytes(8)), (9, SPACE)])
def test_foreign_fingerprints_are_skipped_but_the_log_goes_on(generation: int, space: bytes) -> None:
    one, two = make(0), make(1)
    two.on_post(_post(two.own, Delta((Section(generation, space, (0, 1), b"x"),))), 1.0, WALL)
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
    hold(one, b"\xff")
    one.journal.flush()
    exchange(one, two)
    assert two.index.held(one.own) == held
    assert two.counts["quota"] == 1


@settings(deadline=None)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=4), st.booleans())
def test_no_damage_gets_further_than_a_refusal(at: int, noise: bytes, cut: bool) -> None:
    """A post or a snapshot damaged anywhere is refused, or was not damaged: nothing else is raised, the tree stays whole."""
    one, two = make(0), make(1)
    for number in range(4):
        hold(one, bytes([number]) * 9)
    one.journal.report(LoadReport(running=1))
    one.journal.seal()
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
    raw = encode(one.journal.snapshot())
    head = encode(one.journal.head())
    for peer, body in ((IDS[2], raw), (one.own, raw[:-1]), (one.own, head), (bytes(20), raw)):
        with pytest.raises(Refused):
            two.on_snapshot(peer, body, 1.0)
    assert claims(two)[one.own] == []
    with pytest.raises(Refused) as refused:
        one.on_snapshot_request(two.hello_for(IDS[2], WALL), WALL)
    assert refused.value.reason == "not-for-us"
    with pytest.raises(Refused) as refused:
        one.on_snapshot_request(two.hello_for(one.own, WALL)[:-10], WALL)
    assert refused.value.reason == "signature"


def test_a_session_says_whose_terms_are_held() -> None:
    one, two = make(0), make(1)
    one.terms, two.terms = b"terms-01", b"terms-02"
    exchange(one, two)
    assert two.replicas[one.own].terms == b"terms-01"
    assert one.replicas[two.own].terms == b"terms-02"
    one.terms = b"terms-03"
    exchange(one, two)
    assert two.replicas[one.own].terms == b"terms-03"


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
    assert claims(two)[one.own] == [b"abc"]
    hold(two, b"old")
    two.changed_space(0)
    assert not two.journal.dirty
