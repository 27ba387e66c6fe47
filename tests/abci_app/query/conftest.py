"""Committed versions in memory, for queries."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from abci_app.tree import Tree
from network.codec import Message, encode


@dataclass
class Held:
    """One version: rows, and how many of them have been read."""

    rows: dict[bytes, bytes]
    read: int = 0
    nodes: dict[bytes, bytes] = field(init=False)

    def __post_init__(self) -> None:
        _, writes = Tree({}).update(self.rows.items())
        self.nodes = {key: value for key, value in writes.items() if value is not None}

    def get(self, key: bytes) -> bytes | None:
        self.read += 1
        return self.rows.get(key)

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        for key, value in sorted(self.rows.items()):
            if key.startswith(prefix) and key >= start:
                self.read += 1
                yield key, value


@dataclass
class Ledger:
    """Versions by height, the same rows in all unless a test changes one."""

    height: int
    oldest: int
    versions: dict[int, Held]

    def version(self, height: int) -> Held:
        assert self.oldest <= height <= self.height
        return self.versions[height]


@pytest.fixture(scope="session")
def ledger() -> Callable[..., Ledger]:
    """Builds a ledger of heights 1..3 over records by key."""

    def build(records: dict[bytes, Message], height: int = 3, oldest: int = 1) -> Ledger:
        held = Held({key: encode(record) for key, record in records.items()})
        return Ledger(height, oldest, dict.fromkeys(range(oldest, height + 1), held))

    return build
