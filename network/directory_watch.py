"""Whether others route by the same directory: what guards say, held against what the light client has proven.

A user that is fed a directory of its own can be led to relays of the feeder's choice, even by a proof, if more than two
thirds of the committee help. Guards see what the rest of the network sees; they may lie too, so one alone proves nothing.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto

from network.directory import Directory
from network.directory_summary import DirectorySummary
from network.geometry import DIRECTORY_NAME

REMEMBERED = 64
CLAIMS_EACH = 4
OLD_EPOCHS = 2


class Verdict(Enum):
    """What one guard's word means."""

    AGREES = auto()
    DIFFERS = auto()
    NEWER = auto()
    UNKNOWN = auto()


class DirectoryWatch:
    """The directories this process has proven, by the height of their record, and the last claims of each guard."""

    __slots__ = ("_claims", "_known", "_newest")

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}
        self._newest: Directory | None = None
        self._claims: dict[bytes, deque[DirectorySummary]] = {}

    def note(self, directory: Directory) -> None:
        """The newest proven directory."""
        if directory is self._newest or not directory.height:
            return
        self._newest = directory
        self._known[directory.record.height] = directory.hash
        while len(self._known) > REMEMBERED:
            del self._known[min(self._known)]

    def heard(self, guard: bytes, summary: DirectorySummary) -> None:
        """A guard said which directory it routes by. It is judged again when we know its height."""
        claims = self._claims.setdefault(guard, deque(maxlen=CLAIMS_EACH))
        if summary not in claims:
            claims.append(summary)

    def verdict(self, guard: bytes) -> Verdict:
        """What this guard's last words come to."""
        found = {self._judge(summary) for summary in self._claims.get(guard, ())}
        return next((each for each in (Verdict.DIFFERS, Verdict.AGREES, Verdict.NEWER) if each in found), Verdict.UNKNOWN)

    def forked(self, guards: Sequence[bytes]) -> bool:
        """Whether at least as many of these guards contradict our directory as confirm it, and at least one does."""
        verdicts = [self.verdict(guard) for guard in guards]
        return verdicts.count(Verdict.DIFFERS) >= max(1, verdicts.count(Verdict.AGREES))

    def epochs_behind(self, guards: Sequence[bytes]) -> int:
        """How many epochs our directory is older than what the median of these guards last said, when that is many; else 0."""
        said = sorted(self._claims[guard][-1].epoch for guard in guards if self._claims.get(guard))
        behind = said[(len(said) - 1) // 2] - self._newest.record.epoch if said and self._newest is not None else 0
        return behind if behind >= OLD_EPOCHS else 0

    def keep_only(self, guards: Sequence[bytes]) -> None:
        """Forget what others said."""
        self._claims = {guard: claims for guard, claims in self._claims.items() if guard in guards}

    def _judge(self, summary: DirectorySummary) -> Verdict:
        newest = self._newest
        if newest is None or summary.chain_id != newest.record.chain_id:
            return Verdict.UNKNOWN
        known = self._known.get(summary.height)
        if known is not None:
            return Verdict.AGREES if known == summary.hash else Verdict.DIFFERS
        if summary.hash[:DIRECTORY_NAME] in newest.names:
            return Verdict.AGREES
        return Verdict.NEWER if summary.height > newest.record.height else Verdict.UNKNOWN
