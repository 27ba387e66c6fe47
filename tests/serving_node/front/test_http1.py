"""HTTP/1.1 heads and chunks: whatever comes in whatever pieces is read one way or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_node.front.http1 import (
    CHUNKED,
    UNTIL_CLOSE,
    ChunkReader,
    HttpError,
    onward_request,
    onward_response,
    read_request,
    read_response,
)

HEAD = (
    b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
    b"Connection: X-Mine\r\nX-Mine: 1\r\nAccept: *\r\n\r\n"
)


def test_a_request_goes_on_without_what_concerned_its_connection() -> None:
    head = read_request(HEAD)
    assert (head.method, head.path, head.length, head.close) == ("POST", b"/v1/chat/completions", 5, False)
    onward = onward_request(head, head.target, b"e:1", 5, (b"x-planetserve-hop: word\r\n",))
    assert onward == (
        b"POST /v1/chat/completions?a=b HTTP/1.1\r\nhost: e:1\r\nAccept: *\r\ncontent-length: 5\r\n"
        b"x-planetserve-hop: word\r\n\r\n"
    )
    assert read_request(onward).fields[b"x-planetserve-hop"] == b"word"


def test_our_own_fields_are_never_passed_on() -> None:
    head = read_request(b"GET /v1/models HTTP/1.1\r\nHost: h\r\nX-PlanetServe-Hop: forged\r\n\r\n")
    assert b"forged" not in onward_request(head, head.target, b"e:1", 0)
    answer = read_response(b"HTTP/1.1 200 OK\r\nx-planetserve-node: other\r\ncontent-length: 0\r\n\r\n", "GET")
    assert onward_response(answer, (b"x-planetserve-node: n\r\n",), close=True) == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-planetserve-node: n\r\nconnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("raw", "method", "length", "close"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "POST", 7, False),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", "POST", CHUNKED, False),
        (b"HTTP/1.0 200 OK\r\n\r\n", "POST", UNTIL_CLOSE, True),
        (b"HTTP/1.1 204 No\r\n\r\n", "POST", 0, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n", "HEAD", 0, True),
    ],
)
def test_where_an_answer_ends(raw: bytes, method: str, length: int, close: bool) -> None:
    head = read_response(raw, method)
    assert (head.length, head.close) == (length, close)


@given(st.binary(max_size=200))
def test_garbage_is_read_or_refused(noise: bytes) -> None:
    for raw in (noise + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n" + noise + b"\r\n\r\n"):
        for read in (read_request, lambda raw: read_response(raw, "GET")):
            try:
                read(raw)
            except HttpError as error:
                assert error.status >= 400 and error.message


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.lists(st.integers(1, 9), min_size=1), st.binary(max_size=9))
def test_chunks_end_where_they_end_however_they_are_cut(parts: list[bytes], cuts: list[int], after: bytes) -> None:
    raw = b"".join(b"%x;ext\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: t\r\n\r\n"
    stream = raw + after
    reader = ChunkReader(keep=True)
    at = turn = 0
    while at < len(stream) and not reader.done:
        piece = stream[at : at + cuts[turn % len(cuts)]]
        taken = reader.feed(piece)
        at += taken
        turn += 1
        assert taken == len(piece) or reader.done
    assert reader.done and at == len(raw) and reader.content == b"".join(parts)


@pytest.mark.parametrize("raw", [b"g\r\n", b"1\n", b"1\r\nab\r\n", b"\r\n", b"1" * 300, b"0\r\n" + b"a: b\r\n" * 2000])
def test_bad_chunks_are_refused(raw: bytes) -> None:
    with pytest.raises(HttpError):
        ChunkReader().feed(raw)
