"""Which set-ups a relay opens: the cheap questions come first, and the more it has to do the more work it asks for.

A set-up costs a relay three public-key operations and its sender a random number. So a relay that has much to do, a link
that brings many set-ups, and a replay set that fills up all ask for a puzzle to be solved; checking one costs a few hashes.
Implements `docs/overlay.md` section 3, reasons in `docs/adr/0101-admission-puzzle.md`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from network.cell import DestroyReason
from network.directory import Directory
from network.errors import CryptoError, DecodeError
from network.freshness import Rng
from network.geometry import KEY, SOLUTION
from network.handshake import ForeignDirectory, OnionKey, RelayHandshake
from network.puzzle import is_solved, puzzle
from network.rates import Allowance
from network.replay import ReplaySet
from relay.limits import Limits

PUZZLE_NAMES = 3  # directories that a puzzle may be solved under; more would make an unsolved one dear to refuse
_SLICES = 10  # of the second over which work is counted


class Refusal(NamedTuple):
    """A set-up that is not opened: what to count it as, and what to tell its sender."""

    why: str
    reason: DestroyReason = DestroyReason.REFUSED
    effort: int = 0


class Entrance:
    """Opens CREATE cells. `onion_keys` are those they may be sealed to, newest first."""

    __slots__ = ("_arrived", "_directory", "_limits", "_node_id", "_opened", "_rates", "_replays", "_rng", "onion_keys")

    def __init__(
        self, node_id: bytes, onion_keys: Sequence[OnionKey], directory: Callable[[], Directory], rng: Rng, limits: Limits
    ) -> None:
        self._node_id = node_id
        self._directory = directory
        self._rng = rng
        self._limits = limits
        self._replays = ReplaySet(limits.replay_keys)
        self._arrived = _LastSecond()
        self._opened = _LastSecond()
        self._rates: dict[int, Allowance] = {}
        self.onion_keys = tuple(onion_keys)

    def open(self, link: int, body: bytes, now: float) -> RelayHandshake | Refusal:
        """The handshake under whichever of our keys it was made for, or why there is none."""
        if self._replays.has_seen(body[:KEY], now):
            return Refusal("replayed_create")
        names = self._directory().names
        effort = self._effort(link, now)
        if effort and not self._is_solved(body, names[:PUZZLE_NAMES], effort):
            return Refusal("unsolved_puzzle", DestroyReason.BUSY, effort)
        self._opened.add(now)
        try:
            handshake = self._try_keys(body, names, now)
        except ForeignDirectory:
            return Refusal("foreign_directory", DestroyReason.FOREIGN_DIRECTORY)
        except (CryptoError, DecodeError):
            return Refusal("bad_create")
        if not self._replays.admit(body[:KEY], now):
            return Refusal("replay_set_full", DestroyReason.BUSY)
        return handshake

    def link_lost(self, link: int) -> None:
        """Forget how much a link brought."""
        self._rates.pop(link, None)

    def load(self, now: float) -> int:
        """How much there is to do, in percent of what this relay can: set-ups of the last second, or the replay set."""
        return max(100 * self._opened.count(now) // self._limits.creates_per_second, self._replays.fullness)

    def _effort(self, link: int, now: float) -> int:
        """How many zero bits the next set-up on this link must show; 0 while there is little to do.

        What arrives decides whether there is a price, or a flood that solves nothing would still get half of our time;
        what is opened decides how high it is, or such a flood would raise it for everybody.
        """
        limits = self._limits
        self._arrived.add(now)
        allowance = self._rates.get(link)
        if allowance is None:
            allowance = self._rates[link] = Allowance(limits.creates_per_second_per_link, limits.creates_burst_per_link)
        is_free = allowance.take(now)
        above = self.load(now) - limits.puzzle_above_percent
        if above > 0:
            return min(limits.puzzle_bits + above // 10, limits.puzzle_most_bits)
        crowded = 100 * self._arrived.count(now) > limits.puzzle_above_percent * limits.creates_per_second
        return limits.puzzle_bits if crowded or not is_free else 0

    def _is_solved(self, body: bytes, names: Sequence[bytes], bits: int) -> bool:
        ephemeral, solution = body[:KEY], body[KEY : KEY + SOLUTION]
        for onion_key in self.onion_keys:
            for name in names:
                if is_solved(puzzle(name, onion_key.public, ephemeral), solution, bits):
                    return True
        return False

    def _try_keys(self, body: bytes, names: Sequence[bytes], now: float) -> RelayHandshake:
        for onion_key in self.onion_keys[:-1]:
            try:
                return RelayHandshake(body, self._node_id, onion_key, names, now, self._rng)
            except CryptoError:
                continue
        return RelayHandshake(body, self._node_id, self.onion_keys[-1], names, now, self._rng)


class _LastSecond:
    """Counts what happened within about the last second, in slices of a tenth."""

    __slots__ = ("_newest", "_slices", "_total")

    def __init__(self) -> None:
        self._slices = [0] * _SLICES
        self._newest = 0
        self._total = 0

    def add(self, now: float) -> None:
        """One more."""
        self._turn(now)
        self._slices[self._newest % _SLICES] += 1
        self._total += 1

    def count(self, now: float) -> int:
        """How many."""
        self._turn(now)
        return self._total

    def _turn(self, now: float) -> None:
        newest = int(now * _SLICES)
        if newest <= self._newest:
            return
        for slice_ in range(max(self._newest, newest - _SLICES) + 1, newest + 1):
            self._total -= self._slices[slice_ % _SLICES]
            self._slices[slice_ % _SLICES] = 0
        self._newest = newest
