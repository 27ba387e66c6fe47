"""One caller's connection: reads requests strictly, one after the other, and writes what comes back.

Requests that arrive ahead of an answer (pipelining) wait their turn, within a bound. A caller that reads slowly slows its
engine's stream down; one that leaves ends it.
"""

import asyncio
from typing import Protocol, cast

from serving_node.front.errors import error_answer
from serving_node.front.http1 import CHUNKED, HEAD_END, MAX_HEAD, ChunkReader, HttpError, RequestHead, read_request

MOST_AHEAD = 64 * 1024
WRITE_HIGH = 256 * 1024
SLOW_REQUEST_S = 30.0
IDLE_S = 300.0


class Errand(Protocol):
    """A request on its way, as its caller's connection sees it."""

    def cancel(self) -> None:
        """The caller has left."""

    def pause(self) -> None:
        """The caller reads too slowly."""

    def resume(self) -> None:
        """It reads again."""


class House(Protocol):
    """Who takes requests."""

    max_body: int

    def arrived(self, client: "Client") -> None:
        """A connection was made."""

    def left(self, client: "Client") -> None:
        """It has ended."""

    def serve(self, client: "Client", head: RequestHead, body: bytes) -> Errand | None:
        """Take one request; None when it is answered already. Raises HttpError."""

    def adopt(self, transport: asyncio.Transport, data: bytes) -> None:
        """Take over a connection that begins like the group's exchange."""


class Client(asyncio.Protocol):
    """One connection of a caller."""

    __slots__ = (
        "_ahead",
        "_body",
        "_chunks",
        "_fresh",
        "_head",
        "_house",
        "_paused",
        "_reading",
        "_since",
        "_transport",
        "errand",
    )

    def __init__(self, house: House) -> None:
        self._house = house
        self._transport: asyncio.Transport | None = None
        self._ahead = bytearray()
        self._head: RequestHead | None = None
        self._body = bytearray()
        self._chunks: ChunkReader | None = None
        self._since = 0.0
        self._paused = False
        self._reading = False
        self._fresh = True
        self.errand: Errand | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller has come."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._since = asyncio.get_running_loop().time()
        self._house.arrived(self)

    def data_received(self, data: bytes) -> None:
        """More of a request."""
        if self.errand is None and not self._ahead and self._head is None:
            self._since = asyncio.get_running_loop().time()
        self._ahead += data
        if self.errand is None:
            self._read_on()
        elif len(self._ahead) > MOST_AHEAD and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """A caller that has closed its sending side is taken to have left, as engines do."""
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        """Gone."""
        self._transport = None
        self._house.left(self)
        errand, self.errand = self.errand, None
        if errand is not None:
            errand.cancel()

    def pause_writing(self) -> None:
        """The caller does not keep up."""
        self._paused = True
        self._since = asyncio.get_running_loop().time()
        if self.errand is not None:
            self.errand.pause()

    def resume_writing(self) -> None:
        """It does again."""
        self._paused = False
        if self.errand is not None:
            self.errand.resume()

    def write(self, data: bytes) -> None:
        """Part of an answer."""
        if self._transport is not None:
            self._transport.write(data)

    def done(self, *, close: bool) -> None:
        """The answer is over: on to the next request, or the end."""
        self.errand = None
        if self._transport is None:
            return
        if close:
            self._transport.close()
            return
        self._since = asyncio.get_running_loop().time()
        self._transport.resume_reading()
        if self._ahead and not self._reading:
            self._read_on()

    def fail(self, error: HttpError, *, close: bool = True) -> None:
        """Answer with an error."""
        self.write(error_answer(error, close=close))
        self.done(close=close)

    def abort(self) -> None:
        """Cut the connection; an answer that is not whole must not look whole."""
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Close when nothing is owed: no request has begun and none is being answered."""
        if self.errand is None and self._head is None and not self._ahead and self._transport is not None:
            self._transport.close()

    def watch(self, now: float, stall_s: float) -> None:
        """Called every second: ends what takes too long."""
        waited = now - self._since
        if self.errand is not None:
            if self._paused and waited > stall_s:
                self.abort()
        elif self._head is not None or self._ahead:
            if waited > SLOW_REQUEST_S:
                self.fail(HttpError(408, "request_timeout", f"the request was not complete within {SLOW_REQUEST_S:.0f} s"))
        elif waited > IDLE_S:
            self.finish()

    def _read_on(self) -> None:
        """Take every request that is whole, as long as none is being answered."""
        self._reading = True
        try:
            while self.errand is None and self._ahead and self._transport is not None and not self._transport.is_closing():
                if self._head is None and not self._read_head():
                    return
                if not self._read_body():
                    return
                head, body = self._head, bytes(self._body)
                assert head is not None
                self._head, self._chunks = None, None
                self._body.clear()
                self._serve(head, body)
        except HttpError as error:
            self._ahead.clear()
            self._head = None
            self.fail(error)
        finally:
            self._reading = False

    def _serve(self, head: RequestHead, body: bytes) -> None:
        """A request that was read whole: its connection outlives an error about what it says."""
        try:
            self.errand = self._house.serve(self, head, body)
        except HttpError as error:
            self.fail(error, close=head.close)

    def _read_head(self) -> bool:
        ahead = self._ahead
        while ahead.startswith(b"\r\n"):
            del ahead[:2]
        end = ahead.find(HEAD_END)
        if end > MAX_HEAD or (end < 0 and len(ahead) > MAX_HEAD):
            raise HttpError(431, "invalid_request", f"the head of a request has at most {MAX_HEAD} bytes")
        if end < 0:
            return False
        if self._fresh and ahead.startswith((b"POST /group/", b"GET /group/")):
            self._hand_over()
            return False
        self._fresh = False
        head = read_request(bytes(ahead[: end + 4]))
        del ahead[: end + 4]
        if head.length > self._house.max_body:
            raise HttpError(413, "request_too_large", f"a body has at most {self._house.max_body} bytes here")
        self._head = head
        self._chunks = ChunkReader(keep=True) if head.length == CHUNKED else None
        if head.expects_continue and (head.length or self._chunks):
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # A request without a body is whole; the loop goes on only while bytes wait.
        return True

    def _read_body(self) -> bool:
        head, ahead = self._head, self._ahead
        assert head is not None
        if self._chunks is not None:
            end = self._chunks.feed(bytes(ahead))
            del ahead[:end]
            assert self._chunks.content is not None
            if len(self._chunks.content) > self._house.max_body:
                raise HttpError(413, "request_too_large", f"a body has at most {self._house.max_body} bytes here")
            if self._chunks.done:
                self._body = self._chunks.content
            return self._chunks.done
        if len(ahead) < head.length:
            return False
        self._body = ahead[: head.length]
        del ahead[: head.length]
        return True

    def _hand_over(self) -> None:
        """The rest of this connection is the group's."""
        transport, data = self._transport, bytes(self._ahead)
        assert transport is not None
        self._ahead.clear()
        self._transport = None
        self._house.left(self)
        self._house.adopt(transport, data)
