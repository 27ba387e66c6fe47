"""CometBFT's socket framing, without sockets: each message is an unsigned LEB128 length followed by that many bytes."""

from network.codec import encode_varint
from network.errors import RemoteProtocolError

# A block is at most 4 MB and our genesis far less; a longer message is not CometBFT's.
MAX_MESSAGE = 64 * 1024 * 1024
_MAX_LENGTH_BYTES = 5
_SHORT = tuple(encode_varint(size) for size in range(512))  # most answers are no longer


def frame(message: bytes) -> bytes:
    """`message` as it travels."""
    size = len(message)
    return (_SHORT[size] if size < len(_SHORT) else encode_varint(size)) + message


class Unframer:
    """Bytes in, whole messages out. Holds at most one unfinished message, never more than `limit` bytes of it."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """Every message that `data` completes. Raises RemoteProtocolError for a length that cannot be."""
        # Most often nothing is unfinished, and what came needs no second copy.
        held = bool(self._buffer)
        if held:
            self._buffer += data
        stream: bytes | bytearray = self._buffer if held else data
        messages: list[bytes] = []
        at, size = 0, len(stream)
        while True:
            head = _length(stream, at)
            if head is None:
                break
            length, start = head
            if length > self._limit:
                raise RemoteProtocolError(f"a message of {length} bytes; at most {self._limit} are accepted")
            if size < start + length:
                break
            at = start + length
            messages.append(bytes(stream[start:at]))
        if held:
            del self._buffer[:at]
        else:
            self._buffer += data[at:]
        return messages


def _length(buffer: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """The length that begins at `at` and where its message starts; None while it is incomplete."""
    value = 0
    for position in range(_MAX_LENGTH_BYTES):
        if at + position >= len(buffer):
            return None
        byte = buffer[at + position]
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, at + position + 1
    raise RemoteProtocolError(f"a message length of more than {_MAX_LENGTH_BYTES} bytes")
