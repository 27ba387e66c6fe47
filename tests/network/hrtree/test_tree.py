"""The HR-Tree against its naive twin: the same operations give the same answers, and the invariants always hold."""

import random
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from network.hrtree.tree import LEAST_BYTES, Holding, HRTree

HOLDERS = (b"a", b"b", b"c")
ROOM = 2**22


def tokens(depth: int) -> int:
    """Chunks that grow: what a chunk plan may say."""
    return depth * (depth + 1) // 2


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

    def match(self, path: bytes, parting: int = 0) -> dict[bytes, Holding]:
        found = {}
        for holder, prefixes in self.prefixes.items():
            depth = max((depth for depth in range(len(path) + 1) if path[:depth] in prefixes), default=0)
            while depth and parting and sum(path[: depth - 1] == other[:-1] for other in self.touched) >= parting:
                depth -= 1
            if depth:
                found[holder] = Holding(depth, self.touched[path[:depth]])
        return found

    def remove_path(self, path: bytes, holder: bytes) -> int:
        return self.lose(holder, {prefix for prefix in self.prefixes.get(holder, ()) if prefix.startswith(path)})

    def remove_node(self, holder: bytes) -> int:
        return self.remove_path(b"", holder)

    def lose(self, holder: bytes, lost: set[bytes]) -> int:
        self.prefixes.setdefault(holder, set()).difference_update(lost)
        for prefix in lost:
            if not any(prefix in held for held in self.prefixes.values()):
                del self.touched[prefix]
        return len(lost)

    def leaves(self, holder: bytes) -> list[tuple[float, bytes]]:
        mine = self.prefixes.get(holder, set())
        return [(self.touched[prefix], prefix) for prefix in mine if not any(other[:-1] == prefix for other in mine)]

    def held_tokens(self, holder: bytes) -> int:
        return sum(tokens(len(prefix)) - tokens(len(prefix) - 1) for prefix in self.prefixes.get(holder, ()))

    def trim(self, holder: bytes, nodes: int, most: int | None) -> list[bytes]:
        """The run of the oldest leaf goes: up to where the holder branches, or something was used later."""
        mine = self.prefixes.get(holder, set())
        least = nodes if len(mine) <= nodes else nodes * 7 // 8
        fewest = most if most is None or self.held_tokens(holder) <= most else most * 7 // 8
        cut = []
        while len(mine) > least or (fewest is not None and self.held_tokens(holder) > fewest):
            touched, path = min(self.leaves(holder))
            top = len(path)
            while top > 1 and self.touched[path[: top - 1]] <= touched:
                if sum(path[: top - 1] == other[:-1] for other in mine) > 1:
                    break
                top -= 1
            cut.append(path[:top])
            self.remove_path(path[:top], holder)
        return cut

    def evict(self, kept: HRTree) -> None:
        """Follows a tree that has made room."""
        for holder in self.prefixes:
            held = {path[:depth] for _, path in kept.paths(holder) for depth in range(1, len(path) + 1)}
            self.lose(holder, self.prefixes[holder] - held)


# Few symbols meet often; some repeat, so that runs are long; all 256 in one place make tables.
paths = st.one_of(
    st.lists(st.integers(0, 3), max_size=7).map(bytes),
    st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 3)).map(lambda p: bytes([p[0]]) * p[1] + bytes([p[2]])),
    st.tuples(st.integers(0, 1), st.integers(0, 70)).map(lambda p: bytes([9, 9, 9 + p[0], p[1]])),
)


class TreeAndTwin(RuleBasedStateMachine):
    """Any run of operations: the same matches, the same counts, the same trims."""

    @initialize()
    def begin(self) -> None:
        self.tree, self.twin, self.now = HRTree(ROOM, tokens), PrefixDict(), 0.0

    @rule(path=paths, holder=st.sampled_from(HOLDERS), step=st.sampled_from([0.0, 1.0, 1.0, -3.0]))
    def insert(self, path: bytes, holder: bytes, step: float) -> None:
        self.now += step
        assert self.tree.insert(path, holder, self.now) == self.twin.insert(path, holder, self.now)

    @rule(head=paths, symbols=st.sets(st.integers(0, 255), min_size=30, max_size=120), holder=st.sampled_from(HOLDERS))
    def fan_out(self, head: bytes, symbols: set[int], holder: bytes) -> None:
        for symbol in symbols:
            assert self.tree.insert(head + bytes([symbol]), holder, self.now) == self.twin.insert(
                head + bytes([symbol]), holder, self.now
            )

    @rule(path=paths, holder=st.sampled_from(HOLDERS))
    def remove_path(self, path: bytes, holder: bytes) -> None:
        assert self.tree.remove_path(path, holder) == self.twin.remove_path(path, holder)

    @rule(choice=st.integers(0, 10**6), cut=st.integers(1, 12), more=paths, holder=st.sampled_from(HOLDERS))
    def from_what_is_held(self, choice: int, cut: int, more: bytes, holder: bytes) -> None:
        """Beginnings of held paths: removed, held by another, matched, gone on with."""
        if not self.twin.touched:
            return
        path = sorted(self.twin.touched)[choice % len(self.twin.touched)][:cut]
        what = choice % 4
        if what == 0:
            self.remove_path(path, holder)
        elif what == 1:
            self.insert(path, holder, 1.0)
        elif what == 2:
            self.insert(path + more, holder, 1.0)
        assert self.tree.match(path + more) == self.twin.match(path + more)

    @rule(holder=st.sampled_from(HOLDERS))
    def remove_node(self, holder: bytes) -> None:
        assert self.tree.remove_node(holder) == self.twin.remove_node(holder)

    @rule(holder=st.sampled_from(HOLDERS), nodes=st.integers(0, 40), most=st.none() | st.integers(0, 300))
    def trim(self, holder: bytes, nodes: int, most: int | None) -> None:
        assert self.tree.trim(holder, nodes, most) == self.twin.trim(holder, nodes, most)

    @rule(path=paths, parting=st.sampled_from([0, 2, 3, 12]))
    def match(self, path: bytes, parting: int) -> None:
        assert self.tree.match(path, parting) == self.twin.match(path, parting)

    @invariant()
    def agree(self) -> None:
        self.tree.check_integrity()
        assert len(self.tree) == len(self.twin.touched)
        assert self.tree.evicted == 0
        for holder in HOLDERS:
            assert self.tree.held(holder) == len(self.twin.prefixes.get(holder, ()))
            assert self.tree.held_tokens(holder) == self.twin.held_tokens(holder)
            assert self.tree.paths(holder) == sorted(self.twin.leaves(holder), key=lambda row: row[1])


TestTreeAndTwin = TreeAndTwin.TestCase
TestTreeAndTwin.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


def test_a_full_tree_evicts_what_was_used_longest_ago_and_never_invents() -> None:
    """At the cap: the newest path is whole, nobody is credited with what it never had, leaves left are newer than what went."""
    draw = random.Random(3)
    tree, twin = HRTree(LEAST_BYTES, tokens), PrefixDict()
    for now in range(400):
        path = draw.choice([b"", b"head", b"a longer head of many runs"]) + draw.randbytes(draw.randrange(1, 60))
        tree.insert(path, draw.choice(HOLDERS), float(now))
        twin.insert(path, b"all", float(now))
        tree.check_integrity()
        assert tree.most_bytes <= LEAST_BYTES
        assert max(holding.depth for holding in tree.match(path).values()) == len(path)
        left = {path: touched for holder in HOLDERS for touched, path in tree.paths(holder)}
        kept = {path[:depth] for path in left for depth in range(1, len(path) + 1)}
        assert kept <= twin.prefixes[b"all"]
        gone = twin.prefixes[b"all"] - kept
        oldest = min(left.values())
        assert all(twin.touched[prefix] <= oldest for prefix in gone)
        twin.lose(b"all", gone)
    assert tree.evicted > 0


@pytest.mark.parametrize("most", [LEAST_BYTES, 2**18])
def test_the_cap_in_bytes_is_what_the_interpreter_measures(most: int) -> None:
    """Whatever is inserted: one symbol per row, tables everywhere, as many sets of holders as there is room for."""
    draw = random.Random(5)
    names = [bytes([number]) * 20 for number in range(200)]
    steps = [
        (bytes([draw.randrange(256), draw.randrange(256)]) + draw.randbytes(draw.choice([0, 0, 1, 30])), draw.choice(names))
        for _ in range(most // 50)
    ]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        tree = HRTree(most)
        for now, (path, name) in enumerate(steps):
            tree.insert(path, name, float(now))
        taken, peak = (size - before for size in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    tree.check_integrity()
    assert taken <= tree.most_bytes <= most
    assert peak <= most
    assert tree.evicted > 0


def test_a_tree_node_takes_less_than_48_bytes_even_where_every_one_is_a_row() -> None:
    """Two symbols a prompt, all prompts unlike: nothing can be stored in a line."""
    tree = HRTree(2**24)
    for number in range(2**15):
        tree.insert(number.to_bytes(2, "big"), b"a", 1.0)
    assert len(tree) == 2**15 + 2**7
    tables = 129 * 1280
    assert (tree.most_bytes - tables) / len(tree) <= 48


def test_a_thousand_holders() -> None:
    names = [number.to_bytes(20, "big") for number in range(1000)]
    tree, twin = HRTree(ROOM), PrefixDict()
    for now, name in enumerate(names):
        for path in (b"everybody", b"half" * (now % 2) + b"x", now.to_bytes(2, "big")):
            assert tree.insert(path, name, float(now)) == len(path) == twin.insert(path, name, float(now))
    tree.check_integrity()
    for path in (b"everybody", b"halfx", b"\x01\x02"):
        assert tree.match(path) == twin.match(path)
    for name in names[::2]:
        tree.remove_node(name)
    tree.check_integrity()
    assert set(tree.match(b"everybody")) == set(names[1::2])


def test_without_room_for_another_set_of_holders_a_claim_is_cut_and_removals_still_work() -> None:
    tree = HRTree(LEAST_BYTES)
    names = [bytes([number]) for number in range(4)]
    cut = 0
    for number in range(300):
        name = names[number % 4]
        path = bytes(draw % 3 for draw in random.Random(number).randbytes(6))
        cut += tree.insert(path, name, float(number)) < 6 - tree.match(path).get(name, Holding(0, 0.0)).depth
        tree.check_integrity()
    for name in names:
        held = tree.held(name)
        assert tree.remove_path(b"\x01", name) <= held
        tree.check_integrity()
        tree.remove_node(name)
        tree.check_integrity()
    assert len(tree) == 0


def test_eviction_takes_the_leaf_used_longest_ago() -> None:
    tree = HRTree(LEAST_BYTES)
    tree.insert(b"\x01\x02", b"a", 1.0)
    tree.insert(b"\x03\x04", b"a", 2.0)
    tree.insert(b"\x01\x02", b"b", 3.0)
    number = 0
    while not tree.evicted:
        tree.insert(b"\x05" + number.to_bytes(2, "big"), b"a", 4.0)
        number += 1
    assert tree.match(b"\x03\x04") == {}
    assert tree.match(b"\x01\x02") == {b"a": Holding(2, 3.0), b"b": Holding(2, 3.0)}
    assert tree.evicted == 2


def test_a_growing_conversation_stays_packed() -> None:
    """Every turn touches all of it, so its rows are joined again and again: a row holds more than half of what it could."""
    tree = HRTree(ROOM)
    draw = random.Random(1)
    path = b""
    for turn in range(200):
        path += draw.randbytes(draw.randrange(1, 9))
        tree.insert(path, b"a", float(turn))
        tree.check_integrity()
    assert len(tree._arena) <= len(path) / 6 + 1


def test_trim_keeps_what_was_used_last() -> None:
    tree = HRTree(ROOM)
    tree.insert(b"\x01\x02\x03", b"a", 1.0)
    tree.insert(b"\x01\x04", b"a", 2.0)
    tree.insert(b"\x05", b"a", 3.0)
    assert tree.trim(b"a", 4) == [b"\x01\x02"]
    assert [path for _, path in tree.paths(b"a")] == [b"\x01\x04", b"\x05"]
    assert tree.trim(b"a", 4) == []


def test_a_holder_that_leaves_frees_its_place() -> None:
    tree = HRTree(LEAST_BYTES)
    for turn in range(200):
        tree.insert(bytes([turn % 7, turn % 5]), turn.to_bytes(2, "big"), float(turn))
        tree.remove_node(turn.to_bytes(2, "big"))
        tree.check_integrity()
    assert len(tree) == 0
    assert tree.holders() == ()


def damage_holders(tree: HRTree) -> None:
    tree._arena.holders[1] = 0


def damage_ring(tree: HRTree) -> None:
    tree._arena.older[1], tree._arena.older[2] = tree._arena.older[2], tree._arena.older[1]


def damage_parent(tree: HRTree) -> None:
    tree._arena.parent[2] = 3


def damage_touch(tree: HRTree) -> None:
    tree._arena.touched[tree._arena.first[0]] = 2.0
    tree._arena.touched[1] = 3.0


def damage_count(tree: HRTree) -> None:
    tree._sets.count(b"a", 1, 1)


@pytest.mark.parametrize("damage", [damage_holders, damage_ring, damage_parent, damage_touch, damage_count])
def test_integrity_check_sees_damage(damage: Callable[[HRTree], None]) -> None:
    tree = HRTree(ROOM)
    for path in (b"\x01\x02", b"\x01\x03", b"\x07"):
        tree.insert(path, b"a", 1.0)
    tree.check_integrity()
    damage(tree)
    with pytest.raises(AssertionError, match="HR-Tree integrity"):
        tree.check_integrity()


def test_a_tree_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        HRTree(LEAST_BYTES - 1)


def random_step(tree: HRTree, draw: random.Random, known: list[bytes], now: float) -> None:
    """Anything that can happen, often at or below what is known already."""
    holder, path = bytes([draw.randrange(20)]), draw.randbytes(draw.choice([0, 1, 2, 5, 40]))
    if known and draw.random() < 0.7:
        earlier = draw.choice(known)
        path = earlier[: draw.randrange(len(earlier) + 1)] + path[: draw.randrange(4)]
    what = draw.random()
    if what < 0.7:
        tree.insert(path, holder, now)
        known += [path] * bool(path)
    elif what < 0.9:
        tree.remove_path(path, holder)
    elif what < 0.95:
        tree.trim(holder, draw.randrange(200), draw.choice([None, 300]))
    else:
        tree.remove_node(holder)


@pytest.mark.slow
@pytest.mark.parametrize("most", [LEAST_BYTES, 40_000, 200_000])
def test_long_runs_in_a_full_tree_keep_every_invariant(most: int) -> None:
    """40,000 steps of eviction, cuts and departures; when all have left, nothing is left."""
    for seed in range(40):
        draw, known, tree = random.Random(seed), list[bytes](), HRTree(most, tokens)
        for step in range(1000):
            random_step(tree, draw, known, float(step))
            assert tree.most_bytes <= most
            if not step % 50:
                tree.check_integrity()
        for holder in tree.holders():
            tree.remove_node(holder)
        tree.check_integrity()
        assert len(tree) == 0
