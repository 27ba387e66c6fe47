"""Messages of the group exchange: vectors, round trips, and refusal of everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.codec import decode, encode
from network.crypto import SigningKey
from network.hrdelta import (
    MAX_DELTA_SYMBOLS,
    MAX_DEPTH,
    MAX_POST,
    MAX_SNAPSHOT,
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
    check_signature,
    decode_hello,
    decode_post,
    decode_signed,
    decode_update,
    fold,
    sign,
    unfold,
)
from network.ids import node_id

KEY = SigningKey(bytes([1] * 32))
UPDATE = Update(
    group="m",
    origin=node_id(KEY.public),
    incarnation=1_700_000_000_000,
    sequence=3,
    sections=(Section(7, bytes(range(8)), (Change(1, 0, b"\x01\x02\x03"), Change(2, 2, b"\x09"))),),
    load=LoadReport(running=1, slots=2, queued_tokens=300, capacity_milli=150_000, latency_us=900_000, token_ns=6_500_000),
)
steps = st.lists(st.tuples(st.sampled_from(ChangeKind), st.binary(min_size=1, max_size=9)), max_size=30)


def test_vector() -> None:
    """Freezes a delta's bytes and its signature: any change here needs a new domain."""
    signed = sign(SignedKind.DELTA, UPDATE, KEY, "chain")
    assert encode(UPDATE).hex() == (
        "0a016d121434750f98bd59fcfc946da45aaabe933be154a4b51880d095ffbc3120032a1e0807120800010203040506"
        "071a0708011a030102031a07080210021a010932140801180220ac0228f0930930a0f73638a0dd8c03"
    )
    assert signed.signature.hex() == (
        "b83eb56c5ea2262838e2189c22913e21dc10f54e12949f782d00f3a2711d172b"
        "c1a5b53f86aceab70a6aecb2a0908299d55e7b115d36cb6637ad97a233ec4d0c"
    )


@given(steps)
def test_front_coding_round_trips(paths: list[tuple[ChangeKind, bytes]]) -> None:
    assert unfold(fold(paths), MAX_DELTA_SYMBOLS) == paths


def test_sorted_paths_fold_into_little() -> None:
    paths = [(ChangeKind.HOLD, bytes(100) + bytes([number])) for number in range(50)]
    assert len(encode(Section(1, bytes(8), fold(paths)))) < 100 + 50 * 10


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ((Change(1, 1, b"\x01"),), "garbage"),
        ((Change(0, 0, b"\x01"),), "garbage"),
        ((Change(1, 0, b""),), "oversized"),
        ((Change(1, 0, bytes(MAX_DEPTH)), Change(1, MAX_DEPTH, b"\x01")), "oversized"),
        ((Change(1, 0, bytes(60)), Change(1, 59, b"\x01")), "oversized"),
    ],
)
def test_changes_that_cannot_be_are_refused(changes: tuple[Change, ...], reason: str) -> None:
    with pytest.raises(Refused) as refused:
        unfold(changes, budget=MAX_DEPTH * 2 if len(changes[0].symbols) > 60 else 100)
    assert refused.value.reason == reason


def test_a_signature_binds_kind_chain_and_body() -> None:
    signed = sign(SignedKind.DELTA, UPDATE, KEY, "chain")
    body = check_signature(signed, SignedKind.DELTA, KEY.public, "chain")
    assert decode_update(body, 1000) == UPDATE
    relabelled = Signed(int(SignedKind.SNAPSHOT), signed.body, signed.signature)
    for kind, wrong, chain in (
        (SignedKind.SNAPSHOT, relabelled, "chain"),
        (SignedKind.DELTA, signed, "other"),
        (SignedKind.DELTA, Signed(1, signed.body + b"\x00", signed.signature), "chain"),
        (SignedKind.DELTA, Signed(1, signed.body, b""), "chain"),
        (SignedKind.DELTA, relabelled, "chain"),
        (SignedKind.HELLO, None, "chain"),
    ):
        with pytest.raises(Refused):
            check_signature(wrong, kind, KEY.public, chain)


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else_happens(raw: bytes) -> None:
    for reader in (decode_post, decode_signed, lambda body: decode_update(body, 300)):
        try:
            reader(raw)
        except Refused as refused:
            assert refused.reason == "garbage"


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_post_is_refused_or_its_signature_is(at: int, byte: int) -> None:
    """Truncated or altered anywhere: either it does not decode, or a signature does not verify, or it is the same post."""
    hello = sign(SignedKind.HELLO, Hello(group="m", origin=node_id(KEY.public), time_ms=5), KEY, "chain")
    raw = encode(Post(hello, (sign(SignedKind.DELTA, UPDATE, KEY, "chain"),)))
    at %= len(raw)
    for damaged in (raw[:at], raw[:at] + bytes([byte]) + raw[at + 1 :]):
        try:
            post = decode_post(damaged)
            check_signature(post.hello, SignedKind.HELLO, KEY.public, "chain")
            for delta in post.deltas:
                check_signature(delta, SignedKind.DELTA, KEY.public, "chain")
        except Refused:
            continue
        assert damaged == raw or not post.deltas


def test_oversized_messages_are_refused_unread() -> None:
    for reader, size in ((decode_post, MAX_POST), (decode_signed, MAX_SNAPSHOT + 128)):
        with pytest.raises(Refused) as refused:
            reader(bytes(size + 1))
        assert refused.value.reason == "oversized"
    with pytest.raises(Refused) as refused:
        decode_update(encode(UPDATE), 10)
    assert refused.value.reason == "oversized"


def test_a_hello_must_come_first() -> None:
    for wrong in (None, Signed(1, b"", b""), Signed(3, b"\xff", b"")):
        with pytest.raises(Refused) as refused:
            decode_hello(wrong)
        assert refused.value.reason == "garbage"


def test_an_update_round_trips() -> None:
    assert decode(Update, encode(UPDATE)) == UPDATE
