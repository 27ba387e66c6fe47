"""Just enough HTTP/1.1 for measuring others: a server's connection for fake engines, a client's for the load.

Both sides keep connections alive, take bodies by length or in chunks, and cost tens of microseconds, so that what is
measured is what stands between them. It is no server for strangers: its only bounds are those of a head and a body.
"""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

MOST_HEAD, MOST_BODY = 64 << 10, 64 << 20
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 413: "Content Too Large"}


class BadHttp(Exception):
    """The other side did not speak HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line and the headers, by lower-case name, of a request (method, path) or a response (version, status)."""

    method: str
    path: str
    headers: dict[str, str]

    @classmethod
    def parse(cls, raw: bytes) -> "Head":
        """Reads a head without its blank line."""
        first, *lines = raw.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        if len(words) < 2:
            raise BadHttp(f"no request or status line: {first[:80]!r}")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return cls(words[0], words[1], headers)

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def length(self) -> int | None:
        """The body's length, when it is told."""
        said = self.headers.get("content-length")
        if said is None:
            return None
        if not said.isdecimal() or int(said) > MOST_BODY:
            raise BadHttp(f"a body of {said[:20]!r} bytes")
        return int(said)


def take_chunks(buffer: bytearray) -> tuple[list[bytes], bool]:
    """The whole chunks at the head of a buffer, which loses them; and whether the last one was among them."""
    found: list[bytes] = []
    while (end := buffer.find(b"\r\n")) >= 0:
        try:
            size = int(buffer[:end].partition(b";")[0], 16)
        except ValueError as error:
            raise BadHttp(f"a chunk of {bytes(buffer[:20])!r}") from error
        if size > MOST_BODY or len(buffer) < end + 2 + size + 2:
            break
        found.append(bytes(buffer[end + 2 : end + 2 + size]))
        del buffer[: end + 2 + size + 2]
        if not size:
            return found[:-1], True
    return found, False


def response(body: object, *, status: int = 200, kind: str = "application/json") -> bytes:
    """A whole answer; what is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} {REASONS.get(status, '-')}\r\ncontent-type: {kind}\r\ncontent-length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


def stream_head(kind: str) -> bytes:
    """The head of an answer in chunks."""
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n".encode()


def stream_piece(raw: bytes) -> bytes:
    """One chunk; an empty one ends the answer."""
    return f"{len(raw):x}\r\n".encode() + raw + b"\r\n"


class HttpProtocol(asyncio.Protocol):
    """A server's side of one connection: requests in order, the next one taken up when the last is answered."""

    def __init__(self) -> None:
        self._buffer, self._body = bytearray(), bytearray()
        self._head: Head | None = None
        self._busy = False
        self._work: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None

    def on_request(self, head: Head, body: bytes) -> None:
        """To be told: answers by `finish`, or by `hold`, `write` and `finish`."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport's."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport's: work for nobody stops."""
        self._transport = None
        if self._work is not None:
            self._work.cancel()

    def data_received(self, data: bytes) -> None:
        """The transport's."""
        self._buffer += data
        self._proceed()

    def write(self, raw: bytes) -> None:
        """Part of an answer."""
        if self._transport is not None:
            self._transport.write(raw)

    def finish(self, raw: bytes) -> None:
        """The last part of an answer."""
        self.write(raw)
        self._busy = False
        if self._buffer:
            asyncio.get_running_loop().call_soon(self._proceed)

    def hold(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs what ends in `finish`; it is cancelled when the caller goes."""
        self._work = asyncio.get_running_loop().create_task(work)

    def _proceed(self) -> None:
        try:
            while not self._busy and (asked := self._next()) is not None:
                self._busy = True
                self.on_request(*asked)
        except (BadHttp, ValueError) as error:
            self.finish(response({"error": {"message": str(error), "code": 400}}, status=400))
            if self._transport is not None:
                self._transport.close()

    def _next(self) -> tuple[Head, bytes] | None:
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MOST_HEAD:
                    raise BadHttp("a head without end")
                return None
            self._head = Head.parse(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            if self._head.headers.get("expect", "").lower() == "100-continue":
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = self._head
        if head.chunked:
            pieces, done = take_chunks(self._buffer)
            self._body += b"".join(pieces)
            if not done:
                return None
            body, self._body = bytes(self._body), bytearray()
        else:
            length = head.length or 0
            if len(self._buffer) < length:
                return None
            body = bytes(self._buffer[:length])
            del self._buffer[:length]
        self._head = None
        return head, body
