"""How much of itself a model node gives to cloves and replies: every number a parameter of its `[limits]` table."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from network.config import Table

_MOST = 2**40


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts, bytes and seconds, all whole numbers."""

    messages: int = 4_096  # that gather or are answered
    gathering_bytes: int = 64 * 1024 * 1024
    gathering_seconds: int = 10
    cloves_per_link: int = 256  # of one proxy, whose sisters have not come yet
    resume_seconds: int = 15  # that a reply waits for ways home when too few are left, and for stragglers when it is over
    ways_per_reply: int = 36  # that one reply has had, all in all
    waiting_bytes: int = 8 * 1024 * 1024  # of one reply that were said and wait for their tick
    kept_bytes: int = 4 * 1024 * 1024  # of one reply that were sent, for ways that lack them


DEFAULT = Limits()


def limits_of(raw: Mapping[str, object]) -> Limits:
    """The `[limits]` table; what it leaves out keeps its default. Raises ConfigError naming the key."""
    table = Table(raw, "limits", optional=True)
    values = {name: table.integer(name, value, low=1, high=_MOST) for name, value in asdict(DEFAULT).items()}
    table.done()
    return Limits(**values)
