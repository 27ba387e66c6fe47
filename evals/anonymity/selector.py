"""The path selector that user nodes run, over made-up directories, with numbers instead of node ids in its answers."""

import random
from collections.abc import Iterator, Sequence

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.directory import Directory
from network.geometry import GEOMETRY
from network.guards import GuardRules, GuardSet
from network.ids import Role
from network.path_chooser import PathChooser

NOW = 1_800_000_000.0


def make_directory(families: Sequence[str], seed: int) -> tuple[Directory, dict[bytes, int]]:
    """A directory of one relay per family name, and each node id's number. Ids are random, so their order says nothing."""
    rng = random.Random(seed)
    numbers: dict[bytes, int] = {}
    entries = []
    for number, family in enumerate(families):
        node = rng.randbytes(20)
        numbers[node] = number
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:9000"
        keys = rng.randbytes(32), rng.randbytes(32)
        entries.append(DirectoryEntry(node, *keys, Role.RELAY, f"relay-{number}", address, family, trusted=True))
    entries.sort(key=lambda entry: entry.node_id)
    return Directory(DirectoryRecord("measures", 1, 10, b"", tuple(entries)), 10), numbers


def real_paths(directory: Directory, numbers: dict[bytes, int], runs: int, seed: int) -> Iterator[list[list[int]]]:
    """`runs` path sets, each the first one of a new user node: guards are sampled, then middles and proxies chosen."""
    rng = random.Random(seed)
    for _ in range(runs):
        chosen = PathChooser(GuardSet(GuardRules()), rng.randbytes).choose(directory, NOW)
        yield [[numbers[relay.node_id] for relay in path] for path in chosen.paths]


def distinct_everywhere(paths: Sequence[Sequence[int]]) -> bool:
    """Whether no relay serves twice in one path set."""
    used = [node for path in paths for node in path]
    return len(set(used)) == len(used) == GEOMETRY.n * GEOMETRY.hops
