"""Which blocks CometBFT may forget: its `retain_height`, within every limit that somebody else depends on. Pure.

A block is kept while evidence against its validators may still come, while a peer that restores our oldest snapshot needs
it to go on from there, and while our own data can be taken back to the height below it.
"""

from dataclasses import dataclass

# CometBFT's own default, for a genesis document that does not say.
EVIDENCE_BLOCKS = 100_000


@dataclass(frozen=True, slots=True)
class Retention:
    """A validator's setting. `blocks` 0 keeps everything; `evidence_blocks` is the chain's evidence age; `snapshots` says
    whether this replica offers any."""

    blocks: int = 0
    evidence_blocks: int = EVIDENCE_BLOCKS
    snapshots: bool = False

    def retain_height(self, height: int, *, oldest_version: int, oldest_snapshot: int | None) -> int:
        """The lowest height whose block must stay after `height` is committed; 0 lets CometBFT keep what it has."""
        if not self.blocks or (self.snapshots and oldest_snapshot is None):
            return 0
        limits = [height - self.blocks + 1, height - self.evidence_blocks, oldest_version]
        if oldest_snapshot is not None:
            limits.append(oldest_snapshot)
        return max(0, min(limits))


KEEP_ALL = Retention()
