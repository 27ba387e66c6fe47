"""Credit for one direction of one circuit at one node: nobody is sent more than it said that it has room for.

A node that passed `credit_every` cells on says so to whom it got them from, who may then send as many more. Without credit,
cells wait here; they cannot be more than the window, for whoever sends more than it has credit for loses the circuit.
Implements `docs/overlay.md` section 4, reasons in `docs/adr/0102-credit-windows.md`.
"""

from collections import deque

from network.errors import DecodeError
from network.terms import Terms


class Flow:
    """What may still be sent onward, what waits for leave to be sent, and what has been passed on since the last CREDIT."""

    __slots__ = ("credit", "passed", "terms", "waiting")

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.credit = terms.window
        self.passed = 0
        self.waiting: deque[tuple[float, bytes]] | None = None

    @property
    def is_full(self) -> bool:
        """Whether one cell more would be more than the sender had credit for."""
        return self.passed + self.held >= self.terms.window

    @property
    def held(self) -> int:
        """How many cells wait."""
        return len(self.waiting) if self.waiting else 0

    def grant(self, count: int) -> None:
        """The next node has room for `count` more. Raises DecodeError when that is more than it was ever sent."""
        if not 1 <= count <= self.terms.window - self.credit:
            raise DecodeError(f"credit for {count} cells where {self.terms.window - self.credit} are under way")
        self.credit += count

    def hold(self, cell: bytes, now: float) -> None:
        """Let a cell wait."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append((now, cell))

    def next_cell(self) -> bytes | None:
        """The cell that may go now, its credit taken; None when nothing waits or there is no credit."""
        if not self.waiting or not self.credit:
            return None
        self.credit -= 1
        return self.waiting.popleft()[1]

    def pass_on(self) -> int:
        """One cell was passed on or used up. Returns how many cells to acknowledge now, mostly none."""
        self.passed += 1
        if self.passed < self.terms.credit_every:
            return 0
        self.passed = 0
        return self.terms.credit_every
