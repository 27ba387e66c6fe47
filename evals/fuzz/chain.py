"""Relay cores in a row with fixed keys and seeded randomness, for targets that need a circuit that stands."""

import random

from evals.fuzz.mutate import bend
from network.cell import CellKind
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.crypto import exchange_public
from network.directory import Directory
from network.geometry import GEOMETRY, LINK_ID
from network.handshake import HopIdentity, OnionKey, RelayHandshake, UserHandshake
from network.ids import Role
from relay.core import RelayCore
from relay.limits import Limits

NOW = 1_800_000_000.0
USERS_LINK = 1


class RelayChain:
    """Three relays; the same seed gives the same keys, link ids and set-ups."""

    def __init__(self, seed: str, **limits: int) -> None:
        self.rng = random.Random(seed).randbytes
        privates = [self.rng(32) for _ in range(GEOMETRY.hops)]
        self.onion_keys = [OnionKey(private, exchange_public(private)) for private in privates]
        entries = [
            DirectoryEntry(self.rng(20), self.rng(32), key.public, Role.RELAY, f"r{at}", f"r{at}", f"f{at}")
            for at, key in enumerate(self.onion_keys)
        ]
        listed = Directory(DirectoryRecord("fuzz", 1, 1, b"", tuple(sorted(entries, key=lambda entry: entry.node_id))), 1)
        self.directory = listed.name
        self.hops = [HopIdentity(entry.node_id, entry.onion_key) for entry in entries]
        self.cores = [
            RelayCore(entry.node_id, [key], lambda: listed, self.rng, Limits(**limits))
            for entry, key in zip(entries, self.onion_keys, strict=True)
        ]

    def create_body(self) -> bytes:
        """A set-up that the first relay accepts once."""
        return UserHandshake(self.hops, self.directory, self.rng).create(NOW, self.rng)

    def answer(self, body: bytes) -> bytes:
        """What comes back to the user for a set-up: each hop opens its slot, then each adds its part on the way home."""
        opened = []
        for hop, key in zip(self.hops, self.onion_keys, strict=True):
            opened.append(RelayHandshake(body, hop.node_id, key, [self.directory], NOW, self.rng))
            body = opened[-1].rest
        answer = self.rng(GEOMETRY.cell_body)
        for handshake in reversed(opened):
            answer = handshake.created(answer)
        return answer

    def refreshing(self, raw: bytes, draw: random.Random, others: list[bytes]) -> bytes:
        """Bend, but one time in fifty give a fresh set-up instead, since every set-up is accepted once."""
        if draw.random() < 0.02:
            return draw.randbytes(LINK_ID) + bytes([CellKind.CREATE]) + self.create_body()
        bent = bend(raw, draw, others)
        whole = max(1, round(len(bent) / GEOMETRY.cell)) * GEOMETRY.cell
        return bent[:whole].ljust(whole, b"\0") if draw.random() < 0.9 else bent
