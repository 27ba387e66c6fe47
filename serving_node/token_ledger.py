"""Keeps the ids of every sampled token, and notices those that the engine did not tell.

llama.cpp streams text only once it is whole UTF-8: of the three tokens of an emoji it sends the last one's id and the text
of all. Its running count tells how many ids are missing. A reply is signed over all of them, so they are found again.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gap:
    """`missing` ids before position `at`; together with the token at `at` they make `text`. No text: the answer's end."""

    at: int
    missing: int
    text: str


class TokenLedger:
    """Ids by position; `gaps` are the holes, in order."""

    __slots__ = ("_ids", "gaps")

    def __init__(self) -> None:
        self._ids: list[int | None] = []
        self.gaps: list[Gap] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: list[int], count: int, text: str) -> None:
        """A chunk of the stream: its ids, its text, and the engine's count of tokens so far."""
        missing = count - len(self._ids) - len(ids)
        if missing > 0:
            self._ids += [None] * missing
            self.gaps.append(Gap(len(self._ids), missing, text))
        self._ids += ids

    def end(self, count: int) -> None:
        """The stream is over after `count` tokens."""
        missing = count - len(self._ids)
        if missing > 0:
            self._ids += [None] * missing
            self.gaps.append(Gap(len(self._ids), missing, ""))

    def try_fill(self, gap: Gap, spelling: list[int]) -> bool:
        """Fill a gap with tokens that spell its text, if their number and the known last one agree."""
        if not gap.text or len(spelling) != gap.missing + 1 or spelling[-1] != self._ids[gap.at]:
            return False
        self._ids[gap.at - gap.missing : gap.at] = spelling[:-1]
        self.gaps.remove(gap)
        return True

    def before(self, gap: Gap) -> list[int]:
        """The ids before a gap's missing ones; gaps are filled in order, so these are known."""
        return [token for token in self._ids[: gap.at - gap.missing] if token is not None]

    def last(self, gap: Gap) -> int | None:
        """The known id that ends a gap's text."""
        return self._ids[gap.at] if gap.text else None

    def try_replace(self, replayed: list[int]) -> bool:
        """Fill every gap from a second run of the same generation, if it agrees wherever ids are known."""
        if len(replayed) != len(self._ids):
            return False
        if any(known is not None and known != seen for known, seen in zip(self._ids, replayed, strict=True)):
            return False
        self._ids = list(replayed)
        self.gaps.clear()
        return True

    def ids(self) -> tuple[int, ...]:
        """All ids. Only once no gap is left."""
        assert not self.gaps
        return tuple(token for token in self._ids if token is not None)
