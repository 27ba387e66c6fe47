"""Links between machines: ordered, delayed by a seeded draw, cut when somebody cuts them, watched by whoever taps.

A cell link packs up to 16 cells that leave in the same moment into one frame, as the real writer does; a clove link
carries one message at a time. What a tap sees is what an observer of an unencrypted link sees: bytes, ends, moments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from evals.adversary.clock import VirtualClock
from network.geometry import CELLS_PER_FRAME, GEOMETRY

Delay = Callable[[str, str], float]  # seconds that one frame takes from this machine to that one
End = tuple[str, int]  # machine, its number of the link


class Carries(Enum):
    """What a link is for."""

    CELLS = "cells"
    CLOVES = "cloves"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One frame on one link. `left` and `arrives` are virtual seconds; links are named by each end's own number."""

    left: float
    arrives: float
    source: End
    target: End
    carries: Carries
    raw: bytes

    def cells(self) -> list[bytes]:
        """The cells of a frame; whatever has another length is one piece."""
        return pieces(self.raw) if self.carries is Carries.CELLS else [self.raw]


@dataclass(slots=True)
class _Direction:
    """One direction of a link: what waits for this moment's frames, and when the last frame arrives."""

    source: End
    target: End
    carries: Carries
    waiting: list[bytes]
    arrives: float = 0.0
    open: bool = True


class Wires:
    """Every link. `deliver` and `lose` are the network's: they hand a frame, or the loss of a link, to a machine."""

    def __init__(
        self, clock: VirtualClock, delay: Delay, deliver: Callable[[End, Carries, bytes], None], lose: Callable[[End], None]
    ) -> None:
        self._clock = clock
        self._delay = delay
        self._deliver = deliver
        self._lose = lose
        self._directions: dict[End, _Direction] = {}
        self.taps: list[Callable[[Sighting], None]] = []
        self.under_way = 0

    def join(self, source: End, target: End, carries: Carries) -> None:
        """A link between two ends."""
        self._directions[source] = _Direction(source, target, carries, [])
        self._directions[target] = _Direction(target, source, carries, [])

    def send(self, source: End, raw: bytes) -> None:
        """Put one cell or message on a link; one that is gone swallows it."""
        direction = self._directions.get(source)
        if direction is None:
            return
        if not direction.waiting:
            self.under_way += 1
            self._clock.after(0.0, lambda: self._flush(direction))
        direction.waiting.append(raw)

    def cut(self, source: End) -> None:
        """Break a link. Both ends notice, after all that is being done; what is under way is lost."""
        for end in (source, self.peer(source)):
            if end is not None and end in self._directions:
                self._directions.pop(end).open = False
                self.refuse(end)

    def refuse(self, end: End) -> None:
        """Tell this end that its link is gone, or could not be had."""
        self.under_way += 1
        self._clock.after(0.0, lambda: self._tell_loss(end))

    def _tell_loss(self, end: End) -> None:
        self.under_way -= 1
        self._lose(end)

    def peer(self, source: End) -> End | None:
        """The other end of a link."""
        direction = self._directions.get(source)
        return None if direction is None else direction.target

    def of(self, machine: str) -> list[End]:
        """Every end that a machine holds."""
        return [end for end in self._directions if end[0] == machine]

    def _flush(self, direction: _Direction) -> None:
        self.under_way -= 1
        waiting, direction.waiting = direction.waiting, []
        step = CELLS_PER_FRAME if direction.carries is Carries.CELLS else 1
        for at in range(0, len(waiting), step):
            self._fly(direction, b"".join(waiting[at : at + step]))

    def _fly(self, direction: _Direction, raw: bytes) -> None:
        if not direction.open:
            return
        now = self._clock.now
        # Links keep order, whatever the draw says.
        direction.arrives = max(direction.arrives, now + self._delay(direction.source[0], direction.target[0]))
        sighting = Sighting(now, direction.arrives, direction.source, direction.target, direction.carries, raw)
        for tap in self.taps:
            tap(sighting)
        self.under_way += 1
        self._clock.at(direction.arrives, lambda: self._land(direction, raw))

    def _land(self, direction: _Direction, raw: bytes) -> None:
        self.under_way -= 1
        if direction.open:
            self._deliver(direction.target, direction.carries, raw)


def pieces(frame: bytes) -> list[bytes]:
    """The cells of a frame; what is not whole cells stays as it is."""
    if len(frame) % GEOMETRY.cell:
        return [frame]
    return [frame[at : at + GEOMETRY.cell] for at in range(0, len(frame), GEOMETRY.cell)]
