"""Messages between a proxy and a model node."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.errors import DecodeError
from network.handover import Handover, decode_handover, encode_handover

TOKEN = b"t" * 16


def test_vector() -> None:
    assert encode_handover(Handover.CLOVE, TOKEN, b"\x01\x02").hex() == "01" + "74" * 16 + "0102"
    assert encode_handover(Handover.REFUSED, TOKEN).hex() == "05" + "74" * 16


@given(st.binary(max_size=64))
def test_garbage_is_a_message_or_a_decode_error(raw: bytes) -> None:
    try:
        kind, token, body = decode_handover(raw)
    except DecodeError:
        return
    assert encode_handover(kind, token, body) == raw


def test_bodies_belong_to_cloves_and_replies_only() -> None:
    for kind in Handover:
        carries = kind in (Handover.CLOVE, Handover.REPLY, Handover.RESUME)
        decode_handover(encode_handover(kind, TOKEN, b"x" if carries else b""))
        with pytest.raises(DecodeError):
            decode_handover(encode_handover(kind, TOKEN, b"" if carries else b"x"))
