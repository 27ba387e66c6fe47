"""Refuses what was seen before: ephemeral keys of CREATE cells at a relay, ids of messages at a model node.

Both carry the minute they were made, so a key has to be remembered only while its minute is acceptable; two generations
of that length cover it, exactly. When a generation is full, everything new is refused until it ages: forgetting early
would let replays pass (`docs/adr/0101-admission-puzzle.md`).
"""

from network.freshness import REMEMBER_SECONDS

MAX_KEYS = 262_144
_REMEMBERED = 16  # bytes of a key: who finds two alike has only one of them accepted


class ReplaySet:
    """Keys seen in the last one to two `REMEMBER_SECONDS`."""

    __slots__ = ("_current", "_limit", "_previous", "_since")

    def __init__(self, limit: int = MAX_KEYS) -> None:
        self._current: set[bytes] = set()
        self._previous: set[bytes] = set()
        self._since = 0.0
        self._limit = limit

    def __len__(self) -> int:
        return len(self._current) + len(self._previous)

    def __contains__(self, key: bytes) -> bool:
        key = key[:_REMEMBERED]
        return key in self._current or key in self._previous

    def admit(self, key: bytes, now: float) -> bool:
        """Whether this key is new; remembers it. False for a replay, and while the set is full."""
        if self.has_seen(key, now) or len(self._current) >= self._limit:
            return False
        self._current.add(key[:_REMEMBERED])
        return True

    def has_seen(self, key: bytes, now: float) -> bool:
        """Whether this key is a replay; changes nothing but what has aged."""
        self._age(now)
        return key in self

    @property
    def fullness(self) -> int:
        """How much of the present generation is used, in percent."""
        return 100 * len(self._current) // self._limit

    def _age(self, now: float) -> None:
        if now - self._since < REMEMBER_SECONDS:
            return
        still_needed = now - self._since < 2 * REMEMBER_SECONDS
        self._previous = self._current if still_needed else set()
        self._current = set()
        self._since = now
