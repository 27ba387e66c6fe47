"""The stored tree against its twin: the definition of the app hash over a plain dictionary."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app import tree as tree_module
from abci_app.state import app_hash as hashing
from abci_app.tree import Proof, Tree

keys = st.binary(min_size=1, max_size=2)
batches = st.lists(st.dictionaries(keys, st.one_of(st.none(), st.binary(min_size=1, max_size=3)), max_size=12), max_size=8)


@pytest.fixture(params=["sha256", "crowded"])
def crowded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indices as they are, and indices that share all but their lowest bits, so that branches reach the bottom."""
    if request.param == "crowded":

        def low(key: bytes) -> int:
            return int.from_bytes(key, "big") + 2 ** (8 * (len(key) - 1)) * len(key)

        monkeypatch.setattr(tree_module, "leaf_index", low)
        monkeypatch.setattr(hashing, "leaf_index", low)


def twin_root(rows: dict[bytes, bytes]) -> bytes:
    """Every leaf and every level, without folding."""
    level = {tree_module.leaf_index(k): hashing.leaf_hash(k, v) for k, v in rows.items()}
    for height in range(hashing.DEPTH):
        empty = hashing.EMPTY[height]
        level = {
            index: hashing.inner_hash(level.get(index * 2, empty), level.get(index * 2 + 1, empty))
            for index in sorted({index >> 1 for index in level})
        }
    return level.get(0, hashing.EMPTY[hashing.DEPTH])


def climb(proof: Proof) -> bytes:
    node = proof.leaf
    for height, aunt in enumerate(proof.aunts):
        node = hashing.inner_hash(aunt, node) if proof.index >> height & 1 else hashing.inner_hash(node, aunt)
    return node


def apply(nodes: dict[bytes, bytes], writes: dict[bytes, bytes | None]) -> None:
    for key, value in writes.items():
        if value is None:
            nodes.pop(key, None)
        else:
            nodes[key] = value


@settings(max_examples=60, deadline=None)
@given(history=batches)
def test_the_tree_agrees_with_its_twin(history: list[dict[bytes, bytes | None]]) -> None:
    check_history(history)


def test_the_tree_agrees_with_its_twin_when_rows_crowd(crowded: None) -> None:
    @settings(max_examples=60, deadline=None)
    @given(history=batches)
    def check(history: list[dict[bytes, bytes | None]]) -> None:
        check_history(history)

    check()


def check_history(history: list[dict[bytes, bytes | None]]) -> None:
    rows: dict[bytes, bytes] = {}
    nodes: dict[bytes, bytes] = {}
    for batch in history:
        root, writes = Tree(nodes).update(batch.items())
        apply(nodes, writes)
        apply(rows, batch)
        assert root == Tree(nodes).root() == twin_root(rows)
        ordered = sorted((tree_module.leaf_index(k), hashing.leaf_hash(k, v)) for k, v in rows.items())
        assert root == hashing.root_hash(ordered)
    fresh: dict[bytes, bytes] = {}
    apply(fresh, Tree({}).update(rows.items())[1])
    assert fresh == nodes, "the shape depends on the rows, not on their history"
    check_subtrees(nodes, rows)
    root = Tree(nodes).root()
    for key in [*rows, b"\x00", b"\xff\xff", b"ab"]:
        proof = Tree(nodes).prove(key)
        assert len(proof.aunts) == hashing.DEPTH and climb(proof) == root
        present = key in rows
        assert proof.leaf == (hashing.leaf_hash(key, rows[key]) if present else hashing.EMPTY_LEAF)
        assert Tree(nodes).occupant(proof.index) == (key if present else None)


def check_subtrees(nodes: dict[bytes, bytes], rows: dict[bytes, bytes]) -> None:
    """At every depth the subtrees hold each row once, in the order of their indices, and their hashes are the definition's."""
    for depth in (0, 1, 3, hashing.DEPTH - 3, hashing.DEPTH):
        level = hashing.DEPTH - depth
        below: dict[int, list[bytes]] = {0: [], 2**depth - 1: []}
        for key in sorted(rows, key=tree_module.leaf_index):
            below.setdefault(tree_module.leaf_index(key) >> level, []).append(key)
        for prefix, keys in below.items():
            assert list(Tree(nodes).leaves(depth, prefix)) == [(key, hashing.leaf_hash(key, rows[key])) for key in keys]
            leaves = [(tree_module.leaf_index(key), hashing.leaf_hash(key, rows[key])) for key in keys]
            assert Tree(nodes).subtree(depth, prefix) == hashing.root_hash(leaves, level)


def test_vector() -> None:
    """The hashing rules of `simple:v`, written out by hand."""
    key, value = b"\x03params", b"value"
    leaf = sha256(b"\x00" + bytes([len(key)]) + key + b"\x20" + sha256(value).digest()).digest()
    index = int.from_bytes(sha256(key).digest()[:8], "big") >> 2
    node = leaf
    empty = bytes(32)
    for height in range(62):
        pair = empty + node if index >> height & 1 else node + empty
        node = sha256(b"\x01" + pair).digest()
        empty = sha256(b"\x01" + empty + empty).digest()
    assert Tree({}).update([(key, value)])[0] == node
    assert hashing.app_hash(node) == sha256(b"\x00\x04main\x20" + sha256(node).digest()).digest()


def test_two_rows_on_one_leaf_are_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "leaf_index", lambda key: 5)
    with pytest.raises(AssertionError, match="share the leaf"):
        Tree({}).update([(b"a", b"1"), (b"b", b"2")])


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(keys, st.binary(min_size=1, max_size=3), min_size=2, max_size=12), st.data())
def test_every_node_fits_the_one_above_it_and_no_changed_one_does(rows: dict[bytes, bytes], data: st.DataObject) -> None:
    _, writes = Tree({}).update(rows.items())
    nodes = {key: value for key, value in writes.items() if value is not None}
    places = [(key[0], int.from_bytes(key[1:], "big")) for key in nodes if key[0]]
    assert all(Tree(nodes).fits(*place) for place in places)
    changed = data.draw(st.sampled_from(sorted(key for key in nodes if key[0])))
    nodes[changed] = nodes[changed][:1] + bytes([nodes[changed][1] ^ 1]) + nodes[changed][2:]
    assert not all(Tree(nodes).fits(*place) for place in places)
