"""Prompts this node has sent somewhere, its own engine included, that the receiver's load report cannot show yet.

Pure. Without them a burst would follow one stale report to one node. `docs/forwarding.md` section 5.1.
"""

from collections import Counter, OrderedDict

BOOKING_S = 30.0
# The longest that a prompt is waited for.
OVERDUE_S = 600.0
# A report that is younger than this may still have been made before the prompt arrived.
SETTLES_S = 1.0
KEPT = 4096


class Bookings:
    """Tokens and prompts on their way, by node. A booking is settled by its answer, shown by a later report, or expires."""

    __slots__ = ("_open", "_unseen", "_where")

    def __init__(self) -> None:
        self._where: OrderedDict[int, bytes] = OrderedDict()
        self._open: Counter[bytes] = Counter()
        self._unseen: dict[bytes, list[tuple[float, int, int]]] = {}

    def book(self, number: int, node: bytes, tokens: int, now: float) -> None:
        """The prompt of decision `number` is on its way to a node, which has `tokens` to compute for it."""
        self._where[number] = node
        self._open[node] += 1
        self._unseen.setdefault(node, []).append((now, tokens, number))
        if len(self._where) > KEPT:
            self.settle(next(iter(self._where)))

    def settle(self, number: int) -> None:
        """The prompt was answered, failed, or was sent elsewhere."""
        node = self._where.pop(number, None)
        if node is None:
            return
        self._open[node] -= 1
        if node in self._unseen:
            self._unseen[node] = [booking for booking in self._unseen[node] if booking[2] != number]

    def open(self, node: bytes) -> int:
        """Prompts of ours that a node has not answered yet, shown or not."""
        return max(0, self._open[node])

    def backlog(
        self,
        node: bytes,
        reported_at: float,
        wait_s: float,
        token_s: float,
        now: float,
        shown: int | None = None,
        crossing_s: float = SETTLES_S,
    ) -> tuple[float, int]:
        """Seconds of prefill before one more prompt, and the tokens that the node's report cannot show, or does not.

        The report's own wait, then every booking in turn, each worked off while time passes. A report of fewer prompts,
        `shown`, than we ourselves still wait for there is false: those that it lacks count on, as if none were worked off.
        """
        waiting = self._unseen.get(node)
        if not waiting:
            return max(0.0, wait_s - max(0.0, now - reported_at)) if wait_s else 0.0, 0
        alive = self._unseen[node] = [booking for booking in waiting if booking[0] > now - OVERDUE_S]
        since = max(reported_at - crossing_s, now - BOOKING_S)
        hidden = 0
        if shown is not None:
            hidden = sum([tokens for at, tokens, _ in alive if at < since][shown:])
        left, done, booked = wait_s, reported_at, 0
        for at, tokens, _ in alive:
            if at >= since:
                left = max(0.0, left - max(0.0, at - done)) + tokens * token_s
                done = max(done, at)
                booked += tokens
        return max(0.0, left - max(0.0, now - done)) + hidden * token_s, booked + hidden

    def forget(self, node: bytes) -> None:
        """Drops everything of a node that has left."""
        for number in [number for number, where in self._where.items() if where == node]:
            del self._where[number]
        self._open.pop(node, None)
        self._unseen.pop(node, None)
