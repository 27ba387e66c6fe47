"""HTTP/1.1 as far as a front speaks it: heads are read strictly, bodies are counted and never rewritten.

Knows bytes and bounds; refuses to know sockets. What two readers could understand differently (two lengths, a length beside
a transfer coding, folded or spaced field names, bare line feeds) is refused, so that nothing can be smuggled past us into an
engine's connection. RFC 9112.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from network.errors import RemoteProtocolError

MAX_HEAD = 32 * 1024
MAX_FIELDS = 100
HEAD_END = b"\r\n\r\n"

_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\r\n")
_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,8191}) HTTP/1\.([0-9])\r\n")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[^\r\n]*)?")
_MAX_SIZE_LINE, _MAX_TRAILER = 256, 8 * 1024
# What concerns one connection only (RFC 9110, 7.6.1), and what the onward head states anew.
_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"))
_RESTATED = _HOP_BY_HOP | {b"host", b"content-length", b"transfer-encoding", b"expect"}
OWN_PREFIX = b"x-planetserve-"


class HttpError(RemoteProtocolError):
    """A message that cannot be served: the status to answer, a stable code, and what to say."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


Fields = Mapping[bytes, bytes]
Line = tuple[bytes, bytes, bytes]


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's first part. `length` is the body's, -1 when it comes in chunks."""

    method: str
    target: bytes
    lines: tuple[Line, ...]
    fields: Fields
    length: int
    close: bool
    expects_continue: bool

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """An answer's first part. `length` is the body's, -1 in chunks, -2 until the connection closes."""

    status: int
    start: bytes
    lines: tuple[Line, ...]
    fields: Fields
    length: int
    close: bool


CHUNKED, UNTIL_CLOSE = -1, -2


def read_request(raw: bytes) -> RequestHead:
    """The request head that `raw` is, from the first line to the empty one. Raises HttpError."""
    first = _REQUEST.match(raw)
    if first is None:
        if raw.partition(b"\r\n")[0].endswith(b"HTTP/2.0"):
            raise HttpError(505, "http_version", "speak HTTP/1.1; HTTP/2 is not offered")
        raise HttpError(400, "invalid_request", "the first line is not METHOD /PATH HTTP/1.1")
    if first[3] != b"1":
        raise HttpError(505, "http_version", "speak HTTP/1.1")
    lines, fields = _fields(raw, first.end())
    length = _length(fields)
    if length is None:
        length = 0
    if b"host" not in fields:
        raise HttpError(400, "invalid_request", "HTTP/1.1 requires one Host field")
    expects = fields.get(b"expect", b"").lower()
    if expects not in (b"", b"100-continue"):
        raise HttpError(417, "invalid_request", "the only expectation that is met is 100-continue")
    close = b"close" in _words(fields.get(b"connection", b""))
    return RequestHead(first[1].decode(), first[2], lines, fields, length, close, bool(expects))


def read_response(raw: bytes, method: str) -> ResponseHead:
    """The response head that `raw` is. Raises HttpError."""
    first = _STATUS.match(raw)
    if first is None:
        raise HttpError(502, "engine_failed", "the answer does not begin like HTTP/1.1")
    lines, fields = _fields(raw, first.end())
    status = int(first[2])
    length = _length(fields)
    if method == "HEAD" or status in (204, 304):
        length = 0
    elif length is None:
        length = UNTIL_CLOSE
    close = first[1] == b"0" or length == UNTIL_CLOSE or b"close" in _words(fields.get(b"connection", b""))
    return ResponseHead(status, raw[: first.end()], lines, fields, length, close)


def onward_request(head: RequestHead, target: bytes, host: bytes, length: int, extra: Iterable[bytes] = ()) -> bytes:
    """The head with which a request goes on: what concerned our caller's connection is left out, our own fields too."""
    parts = [head.method.encode() + b" " + target + b" HTTP/1.1\r\nhost: " + host + b"\r\n"]
    named = _words(head.fields.get(b"connection", b""))
    for name, _, line in head.lines:
        if name not in _RESTATED and name not in named and not name.startswith(OWN_PREFIX):
            parts.append(line)
    if length or head.method not in ("GET", "HEAD"):
        parts.append(b"content-length: %d\r\n" % length)
    parts.extend(extra)
    parts.append(b"\r\n")
    return b"".join(parts)


def onward_response(head: ResponseHead, extra: Iterable[bytes], *, close: bool) -> bytes:
    """The head with which an answer goes back; its body follows untouched, so its framing stays as stated."""
    named = _words(head.fields.get(b"connection", b""))
    parts = [head.start if head.start.startswith(b"HTTP/1.1") else b"HTTP/1.1" + head.start[8:]]
    for name, _, line in head.lines:
        if name not in _HOP_BY_HOP and name not in named and not name.startswith(OWN_PREFIX):
            parts.append(line)
    parts.extend(extra)
    parts.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    return b"".join(parts)


class ChunkReader:
    """Finds the end of a chunked body; keeps the content when asked to. `feed` says how many bytes belong to the body."""

    __slots__ = ("_held", "_left", "_state", "content")

    def __init__(self, *, keep: bool = False) -> None:
        self._state = "size"
        self._left = 0
        self._held = bytearray()
        self.content: bytearray | None = bytearray() if keep else None

    @property
    def done(self) -> bool:
        """Whether the last chunk and its trailer are over."""
        return self._state == "done"

    @property
    def between(self) -> bool:
        """Whether the body stands between two chunks, where one more may be written."""
        return self._state == "size" and not self._held

    def feed(self, data: bytes, start: int = 0) -> int:
        """Read on; returns where the body's bytes end in `data`. Raises HttpError."""
        at, end = start, len(data)
        while at < end and self._state != "done":
            if self._state == "data":
                taken = min(self._left, end - at)
                if self.content is not None:
                    self.content += data[at : at + taken]
                self._left -= taken
                at += taken
                if not self._left:
                    self._state = "gap"
                continue
            found = data.find(b"\n", at)
            stop = end if found < 0 else found + 1
            self._held += data[at:stop]
            at = stop
            if len(self._held) > (_MAX_TRAILER if self._state == "trailer" else _MAX_SIZE_LINE):
                raise HttpError(400, "invalid_request", "a chunk's size line or the trailer is too long")
            if found >= 0:
                self._line()
        return at

    def _line(self) -> None:
        line = bytes(self._held)
        if not line.endswith(b"\r\n"):
            raise HttpError(400, "invalid_request", "a chunk's line ends without a carriage return")
        if self._state == "trailer":
            if line.endswith(HEAD_END) or line == b"\r\n":
                self._held.clear()
                self._state = "done"
            return
        self._held.clear()
        if self._state == "gap":
            if line != b"\r\n":
                raise HttpError(400, "invalid_request", "a chunk is longer than its size")
            self._state = "size"
            return
        size = _CHUNK_SIZE.fullmatch(line[:-2])
        if size is None:
            raise HttpError(400, "invalid_request", "a chunk's size is no hexadecimal number")
        self._left = int(size[1], 16)
        self._state = "data" if self._left else "trailer"


def _fields(raw: bytes, at: int) -> tuple[tuple[Line, ...], dict[bytes, bytes]]:
    lines: list[Line] = []
    fields: dict[bytes, bytes] = {}
    end = len(raw) - 2
    while at < end:
        found = _FIELD.match(raw, at)
        if found is None or len(lines) >= MAX_FIELDS:
            raise HttpError(400, "invalid_request", "a header field is malformed, or there are too many")
        name = found[1].lower()
        value = found[2]
        if name in fields:
            if name in (b"content-length", b"host", b"transfer-encoding"):
                raise HttpError(400, "invalid_request", f"the field {name.decode()} is given twice")
            value = fields[name] + b", " + value
        fields[name] = value
        lines.append((name, found[2], found[0]))
        at = found.end()
    if raw[at:] != b"\r\n":
        raise HttpError(400, "invalid_request", "the head does not end with an empty line")
    return tuple(lines), fields


def _length(fields: Fields) -> int | None:
    """The stated length of a body, -1 in chunks, None when nothing is stated."""
    coding = fields.get(b"transfer-encoding")
    stated = fields.get(b"content-length")
    if coding is not None:
        if stated is not None or coding.lower() != b"chunked":
            raise HttpError(400, "invalid_request", "a body is sent with a content-length or chunked, and in no other coding")
        return CHUNKED
    if stated is None:
        return None
    if not stated.isdigit() or len(stated) > 15:
        raise HttpError(400, "invalid_request", "content-length is no number")
    return int(stated)


def _words(value: bytes) -> frozenset[bytes]:
    if not value:
        return frozenset()
    return frozenset(word.strip() for word in value.lower().split(b","))
