"""Kept connections to the places that can answer: the own engine and the fellow fronts.

A connection carries one request at a time and tells its passage what comes back, as bytes. It knows where an answer ends and
nothing of what it says.
"""

import asyncio
import ssl
from typing import Protocol, cast

from network.aio.dialer import CONNECT_SECONDS
from network.config import Address
from serving_node.front.http1 import (
    CHUNKED,
    HEAD_END,
    MAX_HEAD,
    UNTIL_CLOSE,
    ChunkReader,
    HttpError,
    ResponseHead,
    read_response,
)

MOST_IDLE = 256


class Asker(Protocol):
    """Who waits for an answer."""

    def on_head(self, upstream: "Upstream", head: ResponseHead) -> None:
        """The answer begins."""

    def on_body(self, data: bytes) -> None:
        """A piece of the body, framing included."""

    def on_end(self) -> None:
        """The answer is whole."""

    def on_lost(self, reason: str) -> None:
        """It will not become whole."""


class Place:
    """One engine or fellow front, and the idle connections to it."""

    __slots__ = ("_context", "_idle", "address", "host", "name", "node_id", "own")

    def __init__(
        self, name: str, node_id: bytes, address: Address, *, own: bool, context: ssl.SSLContext | None = None
    ) -> None:
        self.name = name
        self.node_id = node_id
        self.address = address
        self.own = own
        self.host = str(address).encode()
        self._context = context
        self._idle: list[Upstream] = []

    def take(self) -> "Upstream | None":
        """An idle connection, the one used last."""
        while self._idle:
            upstream = self._idle.pop()
            if upstream.usable:
                return upstream
        return None

    def give(self, upstream: "Upstream") -> None:
        """Keep a connection for the next request."""
        if len(self._idle) < MOST_IDLE:
            self._idle.append(upstream)
        else:
            upstream.abort()

    async def connect(self) -> "Upstream":
        """A new connection. Raises OSError or TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            _, upstream = await loop.create_connection(
                lambda: Upstream(self), self.address.host, self.address.port, ssl=self._context
            )
        return upstream

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().abort()


class Upstream(asyncio.Protocol):
    """One connection to a place."""

    __slots__ = ("_asker", "_chunks", "_head", "_held", "_left", "_method", "_place", "_transport", "answered", "reused")

    def __init__(self, place: Place) -> None:
        self._place = place
        self._transport: asyncio.Transport | None = None
        self._asker: Asker | None = None
        self._method = ""
        self._held = b""
        self._head: ResponseHead | None = None
        self._chunks: ChunkReader | None = None
        self._left = 0
        self.answered = False  # whether a byte of the present answer has come
        self.reused = False

    @property
    def usable(self) -> bool:
        """Whether the other side still holds the connection open, as far as we know."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def at_boundary(self) -> bool:
        """Whether one more chunk could be written after what has come of a chunked answer."""
        return self._chunks is not None and self._chunks.between

    def ask(self, asker: Asker, method: str, head: bytes, body: bytes) -> None:
        """Send a request; `asker` hears the answer."""
        assert self._transport is not None and self._asker is None
        self._asker, self._method = asker, method
        self._held, self._head, self._chunks, self.answered = b"", None, None, False
        self._transport.writelines((head, body) if body else (head,))

    def abort(self) -> None:
        """Close at once; the asker hears nothing more."""
        self._asker = None
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read no further until `resume`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer; any others end the connection."""
        if self._asker is None:
            self.abort()
            return
        self.answered = True
        try:
            if self._head is None:
                data = self._read_head(data)
            if self._head is not None and self._asker is not None:
                self._read_body(data)
        except HttpError as error:
            self._lose(error.message)

    def eof_received(self) -> bool:
        """The other side says no more."""
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        """Closed, by whomever."""
        self._transport = None
        if self._asker is None:
            return
        if self._head is not None and self._head.length == UNTIL_CLOSE and _exc is None:
            self._end()
        else:
            self._lose("the connection was closed" if _exc is None else type(_exc).__name__)

    def _read_head(self, data: bytes) -> bytes:
        """Returns what follows the head; nothing while it is not whole."""
        data = self._held + data if self._held else data
        while True:
            end = data.find(HEAD_END)
            if end < 0:
                if len(data) > MAX_HEAD:
                    raise HttpError(502, "engine_failed", "the answer's head is too long")
                self._held = data
                return b""
            head = read_response(data[: end + 4], self._method)
            data = data[end + 4 :]
            if head.status >= 200:
                break
        self._head, self._left = head, head.length
        if head.length == CHUNKED:
            self._chunks = ChunkReader()
        assert self._asker is not None
        self._asker.on_head(self, head)
        return data

    def _read_body(self, data: bytes) -> None:
        assert self._asker is not None
        if self._chunks is not None:
            end = self._chunks.feed(data)
            if end:
                self._asker.on_body(data[:end] if end < len(data) else data)
            if self._chunks.done:
                self._end(clean=end == len(data))
        elif self._left == UNTIL_CLOSE:
            if data:
                self._asker.on_body(data)
        else:
            if data:
                self._asker.on_body(data[: self._left] if len(data) > self._left else data)
            self._left -= len(data)
            if self._left <= 0:
                self._end(clean=self._left == 0)

    def _end(self, *, clean: bool = False) -> None:
        asker, head = self._asker, self._head
        if asker is None or head is None:
            return  # the last piece made our caller leave
        self._asker, self._head = None, None
        if clean and not head.close and self.usable:
            self.reused = True
            self._place.give(self)
        elif self._transport is not None:
            self._transport.close()
        asker.on_end()

    def _lose(self, reason: str) -> None:
        asker = self._asker
        self.abort()
        if asker is not None:
            asker.on_lost(reason)
