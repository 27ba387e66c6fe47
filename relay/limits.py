"""How much of itself a relay gives: every number a parameter, read from the `[limits]` table of its settings.

What both ends of a link must agree on (windows, rekeying) is no limit of one relay and lies in `network/`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from network.config import Table

_MOST = 2**40


@dataclass(frozen=True, slots=True)
class Limits:
    """One relay's limits. Counts, bytes, seconds and percentages are whole numbers."""

    circuits: int = 50_000
    circuits_per_link: int = 2_000
    idle_seconds: int = 600
    life_seconds: int = 3_600
    idle_link_seconds: int = 120
    proxy_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"limits.{name} must be at least 1")


def limits_of(raw: Mapping[str, object]) -> Limits:
    """The `[limits]` table; what it leaves out keeps its default. Raises ConfigError naming the key."""
    table = Table(raw, "limits", optional=True)
    values = {name: table.integer(name, value, low=1, high=_MOST) for name, value in asdict(Limits()).items()}
    table.done()
    return Limits(**values)
