"""How much of itself a relay gives: every number a parameter, read from the `[limits]` table of its settings.

What both ends of a link must agree on (windows, rekeying) is no limit of one relay and lies in `network/`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from network.config import Table
from network.errors import ConfigError
from network.link_limits import DEFAULT as LINK
from network.link_limits import LinkLimits
from network.replay import MAX_KEYS

_MOST = 2**40


@dataclass(frozen=True, slots=True)
class Limits:
    """One relay's limits. Counts, bytes, seconds and percentages are whole numbers."""

    circuits: int = 50_000
    circuits_per_link: int = 2_000
    creates_per_second: int = 8_000
    creates_per_second_per_link: int = 20
    creates_burst_per_link: int = 100
    puzzle_above_percent: int = 50
    puzzle_bits: int = 12
    puzzle_most_bits: int = 20
    replay_keys: int = MAX_KEYS
    build_seconds: int = 30
    idle_seconds: int = 600
    life_seconds: int = 3_600
    idle_link_seconds: int = 120
    queued_bytes: int = 256 * 1024 * 1024
    shed_above_percent: int = 90
    shed_to_percent: int = 85
    link_room: int = 32
    proxy_reply_cells: int = 512
    proxy_bytes: int = 64 * 1024 * 1024
    links: int = 4_096
    links_per_host: int = 64
    link_queue_cells: int = LINK.queued_cells
    link_queue_bytes: int = LINK.queued_bytes
    link_stall_seconds: int = LINK.stall_seconds
    pad_least_ms: int = LINK.pad_least_ms
    pad_most_ms: int = LINK.pad_most_ms

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"limits.{name} must be at least 1")
        if self.pad_most_ms < self.pad_least_ms:
            raise ValueError("limits.pad_most_ms must be at least limits.pad_least_ms")

    @property
    def of_a_link(self) -> LinkLimits:
        """What one of its links may hold, and how it is padded."""
        return LinkLimits(
            self.link_queue_cells, self.link_queue_bytes, self.link_stall_seconds, self.pad_least_ms, self.pad_most_ms
        )


def limits_of(raw: Mapping[str, object]) -> Limits:
    """The `[limits]` table; what it leaves out keeps its default. Raises ConfigError naming the key."""
    table = Table(raw, "limits", optional=True)
    values = {name: table.integer(name, value, low=1, high=_MOST) for name, value in asdict(Limits()).items()}
    table.done()
    try:
        return Limits(**values)
    except ValueError as error:
        raise ConfigError(str(error)) from error
