"""Which holders hold a piece of the HR-Tree: each distinct set once, named by a number of two bytes.

A group's tree has hundreds of thousands of pieces and few distinct sets. A set is an integer with a bit per holder, so there is
no limit on holders; `room` bounds the bytes of all sets. See `docs/forwarding.md` section 3.
"""

from array import array
from collections.abc import Iterator, Mapping

NOBODY = 0
MOST_SETS = 2**16 - 1
# Two ends of a dictionary that just doubled, two list slots, a counter and two integers: never measured above.
SET_BYTES = 288
HOLDER_BYTES = 320
_BITS = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


class HolderSets:
    """Counted references to sets of holders. Number 0 is the empty set."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.used = 0
        self._bits: dict[bytes, int] = {}
        self._held: dict[bytes, list[int]] = {}
        self._names: list[bytes] = []
        self._masks: list[int] = [0]
        self._numbers: dict[int, int] = {0: NOBODY}
        self._uses = array("I", [1])
        self._free: list[int] = []

    def holders(self) -> tuple[bytes, ...]:
        """Every known holder, sorted."""
        return tuple(sorted(self._bits))

    def bit(self, holder: bytes) -> int:
        """The mask of one holder; 0 when it is unknown."""
        return 1 << self._bits[holder] if holder in self._bits else 0

    def enter(self, holder: bytes) -> int:
        """The mask of one holder, who is known from now on and takes the lowest free bit; 0 when there is no room for it."""
        if holder not in self._bits:
            if self.used + HOLDER_BYTES > self.room:
                return 0
            place = self._names.index(b"") if b"" in self._names else len(self._names)
            if place == len(self._names):
                self._names.append(b"")
            self._names[place] = holder
            self._bits[holder] = place
            self._held[holder] = [0, 0]
            self.used += HOLDER_BYTES
        return 1 << self._bits[holder]

    def leave(self, holder: bytes) -> None:
        """Forgets a holder that is in no set any more."""
        if holder in self._bits:
            self._names[self._bits.pop(holder)] = b""
            del self._held[holder]
            self.used -= HOLDER_BYTES

    def held(self, holder: bytes) -> tuple[int, int]:
        """How many tree nodes a holder holds, and how many tokens they stand for."""
        nodes, tokens = self._held.get(holder, (0, 0))
        return nodes, tokens

    def count(self, holder: bytes, nodes: int, tokens: int) -> None:
        """A known holder holds so many more."""
        count = self._held[holder]
        count[0] += nodes
        count[1] += tokens

    def mask(self, number: int) -> int:
        """The members of a set as bits."""
        return self._masks[number]

    def names(self, mask: int) -> Iterator[bytes]:
        """The members of a set by name."""
        names = self._names
        if mask.bit_count() * 8 < mask.bit_length():
            while mask:
                place = mask.bit_length() - 1
                yield names[place]
                mask ^= 1 << place
        for at, byte in enumerate(mask.to_bytes((mask.bit_length() + 7) // 8, "little")):
            for bit in _BITS[byte]:
                yield names[at * 8 + bit]

    def take(self, mask: int, *, reserve: int = 0) -> int | None:
        """One more reference to the set of these bits; None when it is new and there is no room but the reserve."""
        number = self._numbers.get(mask)
        if number is None:
            cost = _cost(mask)
            if self.used + cost > self.room - reserve or len(self._numbers) > MOST_SETS:
                return None
            number = self._place(mask)
            self.used += cost
        self._uses[number] += 1
        return number

    def again(self, number: int) -> None:
        """One more reference to a known set."""
        self._uses[number] += 1

    def drop(self, number: int) -> None:
        """One reference less; a set without any is forgotten."""
        self._uses[number] -= 1
        if not self._uses[number]:
            mask = self._masks[number]
            del self._numbers[mask]
            self._masks[number] = 0
            self._free.append(number)
            self.used -= _cost(mask)

    def check_integrity(self, uses: Mapping[int, int], held: Mapping[bytes, list[int]]) -> None:
        """Raises AssertionError when what is counted here differs from what was found. *Does not change the sets.*"""
        counted = {number: self._uses[number] for mask, number in self._numbers.items() if mask}
        known = sum(1 << bit for bit in self._bits.values())
        _check(counted == dict(uses), "references to sets of holders are counted wrong")
        _check(all(held.get(name, [0, 0]) == count for name, count in self._held.items()), "a holder's count is wrong")
        _check(all(mask & ~known == 0 for mask in self._numbers), "a holder bit without a name")
        _check(self.used == sum(map(_cost, filter(None, self._numbers))) + HOLDER_BYTES * len(self._bits), "bytes are lost")

    def _place(self, mask: int) -> int:
        if self._free:
            number = self._free.pop()
            self._masks[number] = mask
        else:
            number = len(self._masks)
            self._masks.append(mask)
            self._uses.append(0)
        self._numbers[mask] = number
        return number


def _cost(mask: int) -> int:
    return SET_BYTES + mask.bit_length() // 7


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(f"HR-Tree integrity: {what}")
