"""What one link may hold, how long its reader may sleep, and when an idle one is padded. Parameters of every node."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """One link's limits; `docs/overlay.md` sections 2 and 14."""

    queued_cells: int = 4096
    queued_bytes: int = 8 * 1024 * 1024
    stall_seconds: int = 20
    pad_least_ms: int = 1_500
    pad_most_ms: int = 9_500


DEFAULT = LinkLimits()
