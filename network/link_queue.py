"""What waits to be written on a link: cells, shed by circuit when there are too many, and hand-over messages, by bytes.

A circuit that lost one cell could not go on anyway, so a full queue throws out the whole circuit whose cell has waited
longest. Implements `docs/overlay.md` section 2.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from network.cell import CellKind, encode_cell
from network.geometry import CELLS_PER_ENCRYPTED_FRAME, CELLS_PER_FRAME, GEOMETRY, LINK_ID
from network.link_limits import DEFAULT


class FrameQueue(Protocol):
    """What waits to be written, frame by frame."""

    def next_frame(self, *, encrypted: bool) -> bytes | None:
        """The next frame, or None while nothing waits."""

    def __len__(self) -> int:
        """How much waits, in cells or messages."""


class CellQueue:
    """Cells that wait for their link."""

    __slots__ = ("_cells", "_most", "_on_drained")

    def __init__(self, most: int = DEFAULT.queued_cells, on_drained: Callable[[], None] = lambda: None) -> None:
        """`on_drained` is called whenever the writer asks and what is left afterwards is less than a frame."""
        self._cells: deque[bytes] = deque()
        self._most = most
        self._on_drained = on_drained

    def put(self, cell: bytes) -> bytes | None:
        """Queue a cell. When the queue is full: the link id of the circuit that was thrown out to make room."""
        victim = None
        if len(self._cells) >= self._most:
            victim = self._cells[0][:LINK_ID]
            self._cells = deque(held for held in self._cells if held[:LINK_ID] != victim)
        if cell[:LINK_ID] != victim:
            self._cells.append(cell)
        return victim

    def next_frame(self, *, encrypted: bool) -> bytes | None:
        """All that waits, as far as it fits a frame."""
        cells = self._cells
        most = CELLS_PER_ENCRYPTED_FRAME if encrypted else CELLS_PER_FRAME
        frame = b"".join([cells.popleft() for _ in range(min(most, len(cells)))])
        if len(cells) < most:
            self._on_drained()
        return frame or None

    def __len__(self) -> int:
        return len(self._cells)


class MessageQueue:
    """Hand-over messages that wait for their link."""

    __slots__ = ("_bytes", "_messages", "_most")

    def __init__(self, most: int = DEFAULT.queued_bytes) -> None:
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._most = most

    def put(self, raw: bytes) -> bool:
        """Queue a message. False when the other end reads so slowly that the link should be given up."""
        self._messages.append(raw)
        self._bytes += len(raw)
        return self._bytes <= self._most

    def next_frame(self, *, encrypted: bool) -> bytes | None:
        """The next message, encrypted or not."""
        if not self._messages:
            return None
        raw = self._messages.popleft()
        self._bytes -= len(raw)
        return raw

    def __len__(self) -> int:
        return len(self._messages)


def pad_cell(rng: Callable[[int], bytes]) -> bytes:
    """A cell that says nothing; the other end drops it without a word."""
    return encode_cell(bytes(LINK_ID), CellKind.PAD, rng(GEOMETRY.cell_body))
