"""Messages of the group exchange: vectors, round trips, and refusal of everything else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.codec import decode, encode
from network.crypto import SigningKey
from network.hrtree.delta import (
    MAX_DELTA,
    MAX_POST,
    MAX_SNAPSHOT,
    Delta,
    Head,
    Refused,
    Seal,
    Section,
    Signed,
    SignedKind,
    check_signature,
    decode_delta,
    decode_hello,
    decode_post,
    decode_signed,
    decode_snapshot,
    first_link,
    group_tag,
    next_link,
    sign,
)
from network.ids import node_id

KEY = SigningKey(bytes([1] * 32))
OWN = node_id(KEY.public)
DELTA = Delta(
    sections=(Section(7, bytes(range(8)), (0, 3, 5, 1, 1), b"\x01\x02\x03\x09"),),
    load=(1, 0, 2, 139),
    sealed=True,
    seals=(Seal(7, bytes(range(8)), bytes(range(16))),),
)


def head(**changed: object) -> Head:
    fields = {"group": group_tag("m"), "origin": OWN, "incarnation": 5, "sequence": 1}
    return Head(**{**fields, "chain": next_link(first_link("m", OWN, 5), encode(DELTA)), **changed})  # type: ignore[arg-type]


def test_vector() -> None:
    """Freezes a delta's bytes, its link and the signature over its head: any change here needs a new domain."""
    assert encode(DELTA).hex() == (
        "0a190807120800010203040506071a05000305010122040102030912050100028b011801221e08071208000102030405"
        "06071a10000102030405060708090a0b0c0d0e0f"
    )
    signed = sign(SignedKind.HEAD, head(), KEY, "chain")
    assert signed.body.hex() == (
        "0a0462c66a7a121434750f98bd59fcfc946da45aaabe933be154a4b5180520012a109d39a0beea81fa31562bf5bd4dd85409"
    )
    assert signed.signature.hex() == (
        "a9b95d7d7b1b75615b99c992da46fa5b5fce646fcfe1f31da959bafd0a33a4a5b02feaadeaab6e226c6e4bb093e06c09"
        "912d3b626fb3dd0633e78f64d2b7c40d"
    )


def test_a_signature_binds_kind_chain_and_body() -> None:
    signed = sign(SignedKind.HEAD, head(), KEY, "chain")
    assert decode(Head, check_signature(signed, SignedKind.HEAD, KEY.public, "chain")) == head()
    relabelled = Signed(int(SignedKind.SNAPSHOT), signed.body, signed.signature)
    for kind, wrong, chain in (
        (SignedKind.SNAPSHOT, relabelled, "chain"),
        (SignedKind.HEAD, signed, "other"),
        (SignedKind.HEAD, Signed(6, signed.body + b"\x00", signed.signature), "chain"),
        (SignedKind.HEAD, Signed(6, signed.body, b""), "chain"),
        (SignedKind.HEAD, relabelled, "chain"),
        (SignedKind.HEAD, None, "chain"),
    ):
        with pytest.raises(Refused):
            check_signature(wrong, kind, KEY.public, chain)


def test_a_chain_depends_on_group_origin_run_and_every_delta() -> None:
    first = first_link("m", OWN, 5)
    assert len({first, first_link("n", OWN, 5), first_link("m", bytes(20), 5), first_link("m", OWN, 6)}) == 4
    assert next_link(next_link(first, b"a"), b"b") != next_link(next_link(first, b"b"), b"a")


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else_happens(raw: bytes) -> None:
    for reader in (decode_post, decode_signed, decode_hello, decode_delta, decode_snapshot):
        try:
            reader(raw)
        except Refused as refused:
            assert refused.reason == "garbage"


@pytest.mark.parametrize(
    ("reader", "size"),
    [(decode_post, MAX_POST), (decode_signed, MAX_SNAPSHOT + 128), (decode_delta, MAX_DELTA), (decode_hello, 1024)],
)
def test_oversized_messages_are_refused_unread(reader: object, size: int) -> None:
    with pytest.raises(Refused) as refused:
        reader(bytes(size + 1))  # type: ignore[operator]
    assert refused.value.reason == "oversized"


def test_a_delta_round_trips() -> None:
    assert decode_delta(encode(DELTA)) == DELTA
