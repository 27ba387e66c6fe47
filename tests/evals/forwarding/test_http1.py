"""The bench's HTTP: chunks however they arrive, requests in order, and what is no HTTP."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.forwarding.http1 import BadHttp, Head, HttpProtocol, response, stream_piece, take_chunks


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_chunks_are_found_however_the_bytes_arrive(pieces: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(map(stream_piece, pieces)) + stream_piece(b"") + b"NEXT"
    buffer, found, done, at = bytearray(), [], False, 0
    for cut in [*cuts, len(wire)]:
        if done:
            break
        buffer += wire[at : at + cut]
        at += cut
        more, done = take_chunks(buffer)
        found += more
    assert done and found == pieces
    assert b"NEXT".startswith(bytes(buffer))


def test_what_is_no_chunk_is_said_so() -> None:
    with pytest.raises(BadHttp):
        take_chunks(bytearray(b"zz\r\nhello"))
    with pytest.raises(BadHttp):
        Head.parse(b"nonsense")
    with pytest.raises(BadHttp):
        _ = Head.parse(b"POST / HTTP/1.1\r\ncontent-length: -4").length


class Echo(HttpProtocol):
    """Answers with what it was sent; `/slow` a little later."""

    def on_request(self, head: Head, body: bytes) -> None:
        if head.path == "/slow":
            self.hold(self._later(body))
        else:
            self.finish(response({"path": head.path, "body": body.decode()}))

    async def _later(self, body: bytes) -> None:
        await asyncio.sleep(0.01)
        self.finish(response({"path": "/slow", "body": body.decode()}))


async def test_requests_on_one_connection_are_answered_in_their_order() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"POST /slow HTTP/1.1\r\ncontent-length: 3\r\n\r\none")
        writer.write(
            b"POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\ntw\r\n1\r\no\r\n0\r\n\r\nGET /c HTTP/1.1\r\n\r\n"
        )
        said = b""
        while said.count(b"HTTP/1.1 200") < 3 or not said.endswith(b"}"):
            said += await asyncio.wait_for(reader.read(4096), 5)
        assert said.index(b"one") < said.index(b"two") < said.index(b"/c")
        writer.write(b"nonsense\r\n\r\n")
        assert b"400" in await asyncio.wait_for(reader.read(4096), 5)
        writer.close()
