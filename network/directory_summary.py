"""Which directory a node routes by, in one short message: what `GET /directory` answers (`docs/overlay.md` section 11).

Two guards that name the same height and another hash have been shown different ledgers: that is for the user to notice.
"""

from dataclasses import dataclass

from network.codec import Message, blob, text, uint
from network.directory import Directory

DIRECTORY_PATH = "/directory"
SUMMARY_LIMIT = 128


@dataclass(frozen=True, slots=True)
class DirectorySummary(Message):
    """A directory by name: `height` is that of its record, and `hash` is `Directory.hash`."""

    chain_id: str = text(1, limit=64)
    epoch: int = uint(2)
    height: int = uint(3)
    hash: bytes = blob(4, size=32)


def summary_of(directory: Directory) -> DirectorySummary:
    """What to answer about this directory."""
    record = directory.record
    return DirectorySummary(record.chain_id, record.epoch, record.height, directory.hash)
