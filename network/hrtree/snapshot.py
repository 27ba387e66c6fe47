"""Taking in what a peer says it holds at one sequence number: all of it, or the pages in which our copy differed."""

from dataclasses import dataclass

from network.hrtree.delta import (
    MAX_SNAPSHOT_SYMBOLS,
    LoadReport,
    Refused,
    Snapshot,
    decode_snapshot,
)
from network.hrtree.index import HRIndex
from network.hrtree.journal import leaves, page_of
from network.hrtree.load import load_of
from network.hrtree.recent import Recent, read_paths
from network.hrtree.stage import MAX_HELD_NODES, comparable


@dataclass(frozen=True, slots=True)
class Found:
    """A snapshot that has been read: its recent paths, what we can compare of what it holds, and what we cannot."""

    snapshot: Snapshot
    recent: Recent
    held: dict[int, list[bytes]]
    foreign: frozenset[int]
    load: LoadReport | None


def read_snapshot(body: bytes, index: HRIndex, peer: bytes) -> Found:
    """A snapshot whose signature has been checked. Raises Refused. *Does not change the index.*"""
    snapshot = decode_snapshot(body)
    if snapshot.group != index.group:
        raise Refused("foreign-group", "a snapshot of another model group")
    if snapshot.origin != peer:
        raise Refused("garbage", "a snapshot that names another origin than its signer")
    recent, budget = Recent(snapshot.newest), MAX_SNAPSHOT_SYMBOLS
    held: dict[int, list[bytes]] = {}
    foreign: set[int] = set()
    for section in snapshot.sections:
        paths = read_paths(section, budget)
        budget -= sum(len(path) for path, _, _ in paths)
        recent.spaces[section.generation] = section.space
        for path, back, _ in paths:
            if back:
                recent.restore(section.generation, path, back)
        if comparable(index, section.generation, section.space):
            held[section.generation] = [path for path, _, is_held in paths if is_held]
        else:
            foreign.add(section.generation)
    recent.settle()
    load = load_of(snapshot.load) if snapshot.load else None
    return Found(snapshot, recent, held, frozenset(foreign), load)


def replace_held(index: HRIndex, peer: bytes, found: Found, now: float) -> int:
    """*Changes the index*: the peer holds what its snapshot says, and in pages it left out what it held before.

    Returns how many paths were left out because the peer holds too much.
    """
    rows: list[tuple[float, int, bytes]] = []
    for generation in index.generations():
        for path, touched in leaves(index, generation, peer).items():
            if found.snapshot.partial and not found.snapshot.pages >> page_of(path) & 1:
                rows.append((touched, generation, path))
    rows += [(now, generation, path) for generation, paths in found.held.items() for path in paths]
    index.remove_node(peer)
    left_out = 0
    # What was used longest ago goes in first, as it did when it was told.
    for touched, generation, path in sorted(rows):
        if index.held(peer) + len(path) <= MAX_HELD_NODES:
            index.tree(generation).insert(path, peer, touched)
        else:
            left_out += 1
    return left_out
