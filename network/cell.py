"""The cell: the fixed-size unit that a link carries, and the data that the ends of a circuit put into it.

    link id 8 | kind 1 | body 1015

A link id is random, chosen by the link's opener, and means nothing on any other link. Several cells share one
WebSocket frame. Implements `docs/overlay.md` section 3.
"""

import struct
from enum import IntEnum

from network.errors import DecodeError
from network.geometry import CELLS_PER_FRAME, CREDIT_COUNT, DATA_HEADER, GEOMETRY, KIND, LINK_ID, NODE_ID, TOKEN

_PREFIX = struct.Struct(f">{LINK_ID}sB")
_DATA = struct.Struct(">BBH")
_HAND_OVER = struct.Struct(f">{NODE_ID}s{TOKEN}sI")

assert _PREFIX.size == LINK_ID + KIND and _DATA.size == DATA_HEADER


class CellKind(IntEnum):
    """What a relay does with a cell."""

    CREATE = 1
    CREATED = 2
    FORWARD = 3
    BACKWARD = 4
    DESTROY = 5
    CREDIT = 6
    PAD = 7


class DestroyReason(IntEnum):
    """Why a circuit was refused or ended, as far as the neighbour is told."""

    NONE = 0
    BUSY = 1
    FOREIGN_DIRECTORY = 2
    REFUSED = 3
    EXPIRED = 4
    SHED = 5


class Command(IntEnum):
    """What the proxy (1, 2, 5) or the user (3, 4) reads in a data cell."""

    HAND_OVER = 1
    MORE = 2
    REPLY = 3
    CLOSED = 4
    RESUME = 5


class CloseReason(IntEnum):
    """Why a proxy has nothing more to bring, in a CLOSED command's single payload byte."""

    FINISHED = 1
    UNREACHABLE = 2
    REFUSED = 3


CLOSE_REASONS = frozenset(bytes((reason,)) for reason in CloseReason)
# By look-up, not by calling the enumeration: this runs once per cell and hop.
_KINDS = {int(kind): kind for kind in CellKind}
_REASONS = {int(reason): reason for reason in DestroyReason}
_COMMANDS = {int(command): command for command in Command}


def encode_cell(link_id: bytes, kind: CellKind, body: bytes) -> bytes:
    """One cell. The body must have exactly the geometry's length."""
    assert len(body) == GEOMETRY.cell_body
    return _PREFIX.pack(link_id, kind) + body


def decode_cell(raw: bytes) -> tuple[bytes, CellKind, bytes]:
    """(link id, kind, body) of one cell. Raises DecodeError."""
    if len(raw) != GEOMETRY.cell:
        raise DecodeError(f"a cell has {GEOMETRY.cell} bytes, not {len(raw)}")
    link_id, number = _PREFIX.unpack_from(raw)
    kind = _KINDS.get(number)
    if kind is None:
        raise DecodeError(f"unknown cell kind {number}")
    return link_id, kind, raw[_PREFIX.size :]


def destroy_cell(link_id: bytes, reason: DestroyReason = DestroyReason.NONE, effort: int = 0) -> bytes:
    """The cell that ends a circuit on one link; `effort` is how many zero bits a busy relay asks for."""
    return encode_cell(link_id, CellKind.DESTROY, bytes((reason, effort)).ljust(GEOMETRY.cell_body, b"\0"))


def decode_destroy(body: bytes) -> tuple[DestroyReason, int]:
    """(reason, effort) of a DESTROY cell: what else it says is nobody's business, and it ends the circuit all the same."""
    reason = _REASONS.get(body[0], DestroyReason.NONE)
    return reason, body[1] if reason is DestroyReason.BUSY else 0


def credit_cell(link_id: bytes, count: int) -> bytes:
    """The cell that says: `count` more cells of this circuit have been passed on."""
    return encode_cell(link_id, CellKind.CREDIT, count.to_bytes(CREDIT_COUNT, "big").ljust(GEOMETRY.cell_body, b"\0"))


def decode_credit(body: bytes) -> int:
    """The count of a CREDIT cell. Raises DecodeError when anything follows it."""
    if body[CREDIT_COUNT:].strip(b"\0"):
        raise DecodeError("a CREDIT cell with something after its count")
    return int.from_bytes(body[:CREDIT_COUNT], "big")


def split_frame(frame: bytes) -> list[bytes]:
    """The cells of one WebSocket frame: 1 to 16 whole ones. Raises DecodeError."""
    count, rest = divmod(len(frame), GEOMETRY.cell)
    if rest or not 1 <= count <= CELLS_PER_FRAME:
        raise DecodeError(f"a frame of {len(frame)} bytes is not 1 to {CELLS_PER_FRAME} whole cells")
    return [frame[at : at + GEOMETRY.cell] for at in range(0, len(frame), GEOMETRY.cell)]


def encode_data(command: Command, payload: bytes, length: int) -> bytes:
    """The data of one cell, padded with zeros to `length` (which one depends on the direction)."""
    assert len(payload) <= length - DATA_HEADER
    return (_DATA.pack(command, 0, len(payload)) + payload).ljust(length, b"\0")


def decode_data(raw: bytes) -> tuple[Command, bytes]:
    """(command, payload) of one cell's data. Raises DecodeError when anything, padding included, is not as specified."""
    number, reserved, length = _DATA.unpack_from(raw)
    command = _COMMANDS.get(number)
    end = DATA_HEADER + length
    if command is None or reserved or end > len(raw) or raw[end:].strip(b"\0"):
        raise DecodeError("a data cell with an unknown command, a wrong length or padding that is not zero")
    return command, raw[DATA_HEADER:end]


def hand_over_cells(model_node: bytes, token: bytes, sealed: bytes, first: Command = Command.HAND_OVER) -> list[bytes]:
    """The data of the forward cells that ask a proxy to hand a sealed clove (RESUME: a sealed note) to a model node."""
    stream = _HAND_OVER.pack(model_node, token, len(sealed)) + sealed
    step = GEOMETRY.forward_payload
    parts = [stream[at : at + step] for at in range(0, len(stream), step)]
    commands = [first] + [Command.MORE] * (len(parts) - 1)
    return [encode_data(command, part, GEOMETRY.forward_body) for command, part in zip(commands, parts, strict=True)]


class HandOverReader:
    """Gathers the cells of one hand-over (`resumes`: of a resume note) at the proxy; holds at most one clove."""

    __slots__ = ("_left", "_parts", "model_node", "resumes", "token")

    def __init__(self, payload: bytes, *, resumes: bool = False) -> None:
        if len(payload) < _HAND_OVER.size:
            raise DecodeError("a hand-over is truncated")
        self.model_node, self.token, length = _HAND_OVER.unpack_from(payload)
        if not 1 <= length <= GEOMETRY.max_clove:
            raise DecodeError(f"a clove of {length} bytes is outside 1..{GEOMETRY.max_clove}")
        self._left = length
        self.resumes = resumes
        self._parts: list[bytes] = []
        self.add(payload[_HAND_OVER.size :])

    def add(self, payload: bytes) -> None:
        """The next cell's payload. Raises DecodeError when it is more than the clove's announced length."""
        if not 1 <= len(payload) <= self._left:
            raise DecodeError("a hand-over's cell is empty, or carries more than was announced")
        self._left -= len(payload)
        self._parts.append(payload)

    def clove(self) -> bytes | None:
        """The whole sealed clove, or None while cells are missing."""
        return None if self._left else b"".join(self._parts)

    @property
    def held(self) -> int:
        """Bytes held so far."""
        return sum(len(part) for part in self._parts)
