"""Finds stop strings in a streamed text: what may be sent now, and whether the answer is over.

The engine is not told of stop strings: it would withhold tokens while one may be forming, and their ids with them.
"""


class StopFinder:
    """Feed it text as it comes; it gives back what no stop string can reach any more."""

    __slots__ = ("_held", "_stops", "found")

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """The text that may be sent. Sets `found` when a stop string is complete; nothing may be fed after that."""
        assert not self.found
        text = self._held + text
        at = min((place for stop in self._stops if (place := text.find(stop)) >= 0), default=-1)
        if at >= 0:
            self.found = True
            self._held = ""
            return text[:at]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        """What was held back when the answer ended without a stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that begins `stop`, and is not all of it."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
