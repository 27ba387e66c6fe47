"""What a front answers in its own name: OpenAI's error object, and the event that ends a broken stream."""

import json

from serving_node.front.http1 import HttpError

REASONS = {
    400: b"Bad Request", 404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout", 413: b"Content Too Large",
    417: b"Expectation Failed", 431: b"Request Header Fields Too Large", 502: b"Bad Gateway", 503: b"Service Unavailable",
    504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip
RETRY_AFTER_S = 1


def error_answer(error: HttpError, *, close: bool) -> bytes:
    """A whole HTTP answer."""
    body = json.dumps({"error": _object(error.status, error.code, error.message)}).encode()
    lines = [
        b"HTTP/1.1 %d %b" % (error.status, REASONS[error.status]),
        b"content-type: application/json",
        b"content-length: %d" % len(body),
    ]
    if error.status in (503, 504):
        lines.append(b"retry-after: %d" % RETRY_AFTER_S)
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def json_answer(document: object, *, close: bool) -> bytes:
    """A whole HTTP answer of status 200."""
    body = json.dumps(document).encode()
    end = b"connection: close\r\n\r\n" if close else b"\r\n"
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b%b" % (len(body), end, body)


def broken_event() -> bytes:
    """The last chunk of an event stream whose engine was lost: SDKs raise it, where silence would look like an end."""
    said = _object(502, "engine_lost", "the engine that was answering has been lost; ask again")
    event = b"data: " + json.dumps({"error": said}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _object(status: int, code: str, message: str) -> dict[str, object]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"message": message, "type": kind, "param": None, "code": code}
