"""Buffers used again: what is large and short-lived costs more to have from the system than to fill.

A buffer goes back to the pool by itself, when nobody holds a view of it any more.
"""

import sys

_KEPT = 4
_HELD_BY_US = 3  # the pool's list, the loop's name, the call of getrefcount


class BufferPool:
    """At most four idle buffers, the largest ones asked for lately."""

    __slots__ = ("_buffers",)

    def __init__(self) -> None:
        self._buffers: list[bytearray] = []

    def take(self, size: int) -> memoryview:
        """A view of `size` bytes of anything. Whoever keeps it or a part of it keeps the buffer."""
        for buffer in self._buffers:
            if len(buffer) >= size and sys.getrefcount(buffer) == _HELD_BY_US:
                return memoryview(buffer)[:size]
        fresh = bytearray(1 << (size - 1).bit_length())
        self._buffers = [fresh, *self._buffers[: _KEPT - 1]]
        return memoryview(fresh)[:size]
