"""One running reply: what is said becomes pieces of one length, one at every tick, over every way home that is left.

Sans-IO. From the opening of the request to the end every tick carries a piece, text or not. Pieces are kept, so that a
fresh way can bring the share of a lost one. Implements `docs/overlay.md` sections 7 and 13.
"""

from collections.abc import Iterable

from network.geometry import GEOMETRY
from network.inference import ReplyFrame
from network.modes import PACES, Mode, bucket_of
from network.reply import ReplyWriter, stream_of
from serving_node.limits import DEFAULT, Limits

CATCH_UP = 8  # kept pieces that a fresh way brings with every tick, or twice a burst

OPENING_SHARE = 0.2  # of a tick: the first piece waits so long, so that it can say that the request was accepted

Return = tuple[int, bytes]  # clove link, return token


class Reply:
    """The pieces of one reply and the ways they go. `deadline`: when it is given up, or forgotten after its end."""

    __slots__ = (
        "_attached",
        "_base",
        "_behind",
        "_closing",
        "_kept",
        "_limits",
        "_next_tick",
        "_pace",
        "_parts",
        "_stream",
        "_writer",
        "arrived",
        "deadline",
        "over",
        "secret",
        "ways",
    )

    def __init__(self, secret: bytes, message_id: bytes, mode: Mode, now: float, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self.secret = secret
        self.ways: dict[int, Return] = {}
        self.arrived = 0  # bit i: clove i came and opened
        self.over = False
        self.deadline: float | None = None
        self._pace = PACES[mode]
        self._writer = ReplyWriter(secret, message_id)
        self._next_tick = now + OPENING_SHARE * self._pace.tick_s
        self._stream = bytearray()
        self._closing = False
        self._parts: list[bytes] = []
        self._base = 0  # the number of the first piece in `_parts`
        self._kept = 0
        self._behind: dict[int, int] = {}
        self._attached: set[bytes] = set()

    @property
    def due(self) -> float | None:
        """When `tick` or the deadline has something to do."""
        ticks = [self._next_tick] if not self.over or self._behind else []
        return min([*ticks, *([] if self.deadline is None else [self.deadline])], default=None)

    def attach(self, index: int, way: Return, released: int | None = None) -> bool:
        """Send clove `index` over this way from now on, and what the user lacks since piece `released`. False: impossible."""
        sent = self._base + len(self._parts)
        if way[1] in self._attached or len(self._attached) >= self._limits.ways_per_reply:
            return False
        if released is not None and not self._base <= released <= sent:
            return False
        self._attached.add(way[1])
        self._writer.attach(index, way[1])
        self.ways[index] = way
        self._behind.pop(index, None)
        if released is not None and released < sent:
            self._behind[index] = released
        if not self.over and len(self.ways) >= GEOMETRY.k:
            self.deadline = None
        return True

    def lose(self, index: int, now: float) -> bool:
        """A way is gone. True when the answer is to be given up at once, because nobody is there any more."""
        del self.ways[index]
        self._behind.pop(index, None)
        if self.over:
            return False
        if len(self.ways) < GEOMETRY.k and self.deadline is None:
            self.deadline = now + self._limits.resume_seconds
        return not self.ways

    def say(self, frames: Iterable[ReplyFrame], *, end: bool) -> bool:
        """Queue frames; `end` says that nothing follows. False when more waits than may."""
        self._stream += stream_of(frames)
        self._closing = self._closing or end
        return len(self._stream) <= self._limits.waiting_bytes

    def tick(self, now: float) -> list[tuple[Return, bytes]]:
        """What leaves at this tick: shares that a fresh way lacks, then the next piece."""
        if now < self._next_tick:
            return []
        self._next_tick += self._pace.tick_s * (1 + (now - self._next_tick) // self._pace.tick_s)
        out = self._catch_up()
        for _ in range(self._pace.burst if len(self.ways) - len(self._behind) >= GEOMETRY.k else 1):
            if self.over:
                break
            out += self._next_piece(now)
            if not self._stream:
                break
        return out

    @property
    def unsaid(self) -> bool:
        """Whether something waits for its tick, and somebody for it."""
        return bool(self.ways) and (bool(self._stream) or bool(self._behind))

    def finished_ways(self) -> list[int]:
        """The ways that have nothing more to carry."""
        return [index for index in self.ways if index not in self._behind] if self.over else []

    def _next_piece(self, now: float) -> list[tuple[Return, bytes]]:
        part = bytes(self._stream[: GEOMETRY.piece])
        del self._stream[: GEOMETRY.piece]
        number = self._base + len(self._parts)
        full = not self._pace.bucketed or bucket_of(number + 1) == number + 1
        self.over = self._closing and not self._stream and full
        if self.over:
            self.deadline = now + self._limits.resume_seconds
        self._keep(part)
        return self._write(number, part, [index for index in self.ways if index not in self._behind])

    def _catch_up(self) -> list[tuple[Return, bytes]]:
        out: list[tuple[Return, bytes]] = []
        for index in list(self._behind):
            for _ in range(max(CATCH_UP, 2 * self._pace.burst)):
                number = self._behind[index]
                out += self._write(number, self._parts[number - self._base], [index])
                self._behind[index] += 1
                if self._behind[index] == self._base + len(self._parts):
                    del self._behind[index]
                    break
        return out

    def _write(self, number: int, part: bytes, indices: list[int]) -> list[tuple[Return, bytes]]:
        last = self.over and number == self._base + len(self._parts) - 1
        cloves = self._writer.write(number, part, end=last, arrived=self.arrived, indices=indices)
        return [(self.ways[index], clove) for index, clove in cloves]

    def _keep(self, part: bytes) -> None:
        """Keep a piece for those who lack it; the oldest go when it is too much, and ways that lag as far with them."""
        self._parts.append(part)
        self._kept += len(part)
        while self._kept > self._limits.kept_bytes:
            self._kept -= len(self._parts.pop(0))
            self._base += 1
        for index, number in list(self._behind.items()):
            self._behind[index] = max(number, self._base)
