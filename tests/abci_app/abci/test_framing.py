"""Framing: any cut of the stream yields the same messages, and what cannot be a length is refused."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abci_app.abci.framing import Unframer, frame
from network.errors import RemoteProtocolError


@given(st.lists(st.binary(max_size=300), max_size=6), st.lists(st.integers(0, 2000), max_size=6))
def test_any_cut_yields_the_same_messages(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(message) for message in messages)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    unframer, found = Unframer(), []
    for start, end in pairwise(edges):
        found += unframer.feed(stream[start:end])
    assert found == messages


def test_vectors() -> None:
    assert frame(b"") == b"\x00"
    assert frame(b"a" * 300)[:2] == b"\xac\x02"


@given(st.binary(max_size=200))
def test_garbage_yields_messages_or_a_remote_error(data: bytes) -> None:
    with suppress(RemoteProtocolError):
        assert all(isinstance(message, bytes) for message in Unframer().feed(data))


def test_limits() -> None:
    assert Unframer(limit=10).feed(frame(b"a" * 10)) == [b"a" * 10]
    with pytest.raises(RemoteProtocolError, match="11 bytes"):
        Unframer(limit=10).feed(frame(b"a" * 11)[:1])
    with pytest.raises(RemoteProtocolError, match="length"):
        Unframer().feed(b"\xff" * 5)
