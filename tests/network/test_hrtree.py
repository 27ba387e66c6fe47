"""The HR-Tree against its naive twin: the same operations give the same answers, and the invariants always hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.hrtree import Holding, HRTree

HOLDERS = (b"a", b"b", b"c")


class PrefixDict:
    """The twin: every held prefix written out, nothing shared, nothing clever."""

    def __init__(self) -> None:
        self.prefixes: dict[bytes, set[bytes]] = {}
        self.touched: dict[bytes, float] = {}

    def insert(self, path: bytes, holder: bytes, now: float) -> int:
        mine = {path[:depth] for depth in range(1, len(path) + 1)}
        added = len(mine - self.prefixes.setdefault(holder, set()))
        self.prefixes[holder] |= mine
        for prefix in mine:
            self.touched[prefix] = max(now, self.touched.get(prefix, now))
        return added

    def match(self, path: bytes) -> dict[bytes, Holding]:
        found = {}
        for holder, prefixes in self.prefixes.items():
            depths = [depth for depth in range(1, len(path) + 1) if path[:depth] in prefixes]
            if depths:
                found[holder] = Holding(max(depths), self.touched[path[: max(depths)]])
        return found

    def remove_path(self, path: bytes, holder: bytes) -> int:
        prefixes = self.prefixes.setdefault(holder, set())
        lost = {prefix for prefix in prefixes if prefix.startswith(path)}
        prefixes -= lost
        for prefix in lost:
            if not any(prefix in held for held in self.prefixes.values()):
                del self.touched[prefix]
        return len(lost)

    def remove_node(self, holder: bytes) -> int:
        return self.remove_path(b"", holder)


paths = st.lists(st.integers(0, 3), max_size=7).map(bytes)
operations = st.lists(
    st.tuples(st.sampled_from(["insert", "insert", "insert", "remove_path", "remove_node"]), paths, st.sampled_from(HOLDERS)),
    max_size=60,
)


@given(operations, paths)
def test_tree_agrees_with_its_twin(steps: list[tuple[str, bytes, bytes]], probe: bytes) -> None:
    tree, twin = HRTree(10_000), PrefixDict()
    for now, (what, path, holder) in enumerate(steps):
        if what == "insert":
            assert tree.insert(path, holder, float(now)) == twin.insert(path, holder, float(now))
        elif what == "remove_path":
            assert tree.remove_path(path, holder) == twin.remove_path(path, holder)
        else:
            assert tree.remove_node(holder) == twin.remove_node(holder)
        tree.check_integrity()
        assert tree.match(path) == twin.match(path)
    assert tree.match(probe) == twin.match(probe)
    assert len(tree) == len(twin.touched)
    for holder in HOLDERS:
        held = twin.prefixes.get(holder, set())
        assert tree.held(holder) == len(held)
        leaves = {prefix for prefix in held if not any(other != prefix and other.startswith(prefix) for other in held)}
        assert {path for _, path in tree.paths(holder)} == leaves


@given(st.integers(1, 12), operations)
def test_a_full_tree_evicts_and_never_invents(cap: int, steps: list[tuple[str, bytes, bytes]]) -> None:
    """At the cap the newest path survives, nobody is credited with a prefix it never had, and the invariants hold."""
    tree, twin = HRTree(cap), PrefixDict()
    for now, (_, path, holder) in enumerate(steps):
        tree.insert(path, holder, float(now))
        twin.insert(path, holder, float(now))
        tree.check_integrity()
        assert len(tree) <= cap
        assert tree.match(path).get(holder, Holding(0, 0.0)).depth == min(len(path), cap)
        for name, holding in tree.match(path).items():
            assert holding.depth <= twin.match(path)[name].depth


def test_eviction_takes_the_leaf_touched_longest_ago() -> None:
    tree = HRTree(4)
    tree.insert(b"\x01\x02", b"a", 1.0)
    tree.insert(b"\x03\x04", b"a", 2.0)
    tree.insert(b"\x01\x02", b"b", 3.0)
    tree.insert(b"\x05", b"a", 4.0)
    assert tree.match(b"\x03\x04") == {b"a": Holding(1, 2.0)}
    assert tree.match(b"\x01\x02") == {b"a": Holding(2, 3.0), b"b": Holding(2, 3.0)}
    assert tree.evicted == 1


@given(operations, st.integers(0, 30))
def test_trim_cuts_the_oldest_branches_of_one_holder(steps: list[tuple[str, bytes, bytes]], limit: int) -> None:
    """Within the limit nothing goes; beyond it claims shrink to 7/8, others keep theirs, the cut paths say what went."""
    tree, twin = HRTree(10_000), PrefixDict()
    for now, (_, path, holder) in enumerate(steps):
        tree.insert(path, holder, float(now))
        twin.insert(path, holder, float(now))
    before, others = tree.held(b"a"), {name: tree.paths(name) for name in (b"b", b"c")}
    cut = tree.trim(b"a", limit, lambda depth: 1)
    tree.check_integrity()
    assert bool(cut) == (before > limit)
    assert tree.held(b"a") <= max(limit * 7 // 8, 0) or not cut
    for path in cut:
        twin.remove_path(path, b"a")
    assert tree.held(b"a") == len(twin.prefixes.get(b"a", set()))
    assert {name: [path for _, path in tree.paths(name)] for name in others} == {
        name: [path for _, path in rows] for name, rows in others.items()
    }


def test_trim_keeps_what_was_used_last() -> None:
    tree = HRTree(100)
    tree.insert(b"\x01\x02\x03", b"a", 1.0)
    tree.insert(b"\x01\x04", b"a", 2.0)
    tree.insert(b"\x05", b"a", 3.0)
    assert tree.trim(b"a", 4, lambda depth: 1) == [b"\x01\x02"]
    assert [path for _, path in tree.paths(b"a")] == [b"\x01\x04", b"\x05"]


def test_a_holder_that_leaves_frees_its_place() -> None:
    tree = HRTree(100)
    for turn in range(200):
        tree.insert(bytes([turn % 7, turn % 5]), turn.to_bytes(2, "big"), float(turn))
        tree.remove_node(turn.to_bytes(2, "big"))
        tree.check_integrity()
    assert len(tree) == 0
    assert tree.holders() == ()


def test_integrity_check_sees_damage() -> None:
    tree = HRTree(10)
    tree.insert(b"\x01\x02", b"a", 1.0)
    tree._holders[1] = 0
    with pytest.raises(AssertionError, match="without a holder"):
        tree.check_integrity()


def test_a_tree_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        HRTree(0)
