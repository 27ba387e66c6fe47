"""Directories of relays nobody runs, for attacks on the choice of paths: who is in them, where, under whose name."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.directory import Directory
from network.ids import Role

NOW = 1_800_000_000.0


@dataclass
class Town:
    """Honest relays and the attacker's. Each honest one has its own family and its own /16."""

    seed: int
    entries: list[DirectoryEntry] = field(default_factory=list)
    evil: set[bytes] = field(default_factory=set)

    def add(self, count: int, *, families: Sequence[str] = (), network: str = "", evil: bool = False) -> "Town":
        """More relays; `families` are taken in turn, `network` is the first half of their IPv4 addresses."""
        draw = random.Random(f"{self.seed}/{len(self.entries)}")
        for _ in range(count):
            number = len(self.entries)
            family = families[number % len(families)] if families else f"family-{number}"
            place = network or f"{10 + number % 80 + 1}.{number // 80 + 1}"
            address = f"{place}.{number % 250 + 1}.{number // 250 + 1}:9000"
            node, signing, onion = draw.randbytes(20), draw.randbytes(32), draw.randbytes(32)
            self.entries.append(DirectoryEntry(node, signing, onion, Role.RELAY, f"t{number}", address, family, trusted=True))
            if evil:
                self.evil.add(node)
        return self

    def directory(self) -> Directory:
        """As the chain lists them."""
        listed = tuple(sorted(self.entries, key=lambda each: each.node_id))
        return Directory(DirectoryRecord("town", 1, 1, bytes(32), listed), 1)

    def is_evil(self, relay: DirectoryEntry) -> bool:
        """Whether the attacker runs it."""
        return relay.node_id in self.evil
