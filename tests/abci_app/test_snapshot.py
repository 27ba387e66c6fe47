"""Snapshots: the same bytes on every replica, and nothing decodes but what leads to its app hash."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app import snapshot as snapshots
from abci_app.snapshot import Chunk, Part, Snapshot, decode_rows, decode_snapshot, encode_rows, take
from abci_app.state.app_hash import DEPTH, app_hash, leaf_index
from abci_app.tree import Tree, node_key
from network.crypto import sha256
from network.errors import DecodeError

CHAIN = "snapshot-test"
rows_strategy = st.dictionaries(st.binary(min_size=1, max_size=4), st.binary(min_size=1, max_size=40), max_size=40)


class Version:
    """Rows and nodes in dictionaries."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.rows = dict(rows)
        self.nodes = {key: value for key, value in Tree({}).update(rows.items())[1].items() if value is not None}

    @property
    def app_hash(self) -> bytes:
        return app_hash(Tree(self.nodes).root())

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(self.rows.items()))


def taken(version: Version, height: int = 7) -> tuple[Snapshot, list[bytes]]:
    steps = [step for step in take(version, CHAIN, height, version.app_hash) if step is not None]
    chunks = [step for step in steps if isinstance(step, Chunk)]
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert isinstance(steps[-1], Snapshot)
    return steps[-1], [chunk.raw for chunk in chunks]


@pytest.fixture(params=[30, 400, 1 << 20])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(snapshots, "CHUNK_TARGET", request.param)
    return int(request.param)


def test_what_is_taken_is_all_there_is(target: int) -> None:
    @settings(max_examples=40, deadline=None)
    @given(rows=rows_strategy)
    def check(rows: dict[bytes, bytes]) -> None:
        snapshot, chunks = taken(Version(rows))
        assert decode_snapshot(snapshot.metadata) == snapshot
        assert snapshot.hash == sha256(snapshot.metadata)
        found = [row for part, raw in zip(snapshot.parts, chunks, strict=True) for row in decode_rows(raw, part)]
        assert dict(found) == rows
        assert [leaf_index(key) for key, _ in found] == sorted(leaf_index(key) for key in rows)
        for part, raw in zip(snapshot.parts, chunks, strict=True):
            single = len(decode_rows(raw, part)) <= 1
            assert raw and (single or part.depth == snapshots.MOST_CUTS or len(raw) <= target + 2)

    check()


def test_history_does_not_show() -> None:
    rows = {b"k%d" % number: b"value %d" % number for number in range(200)}
    long_way = Version({})
    for key, value in reversed(rows.items()):
        for held in (b"before", value):
            long_way.rows[key] = held
            for at, node in Tree(long_way.nodes).update([(key, held)])[1].items():
                long_way.nodes.pop(at, None) if node is None else long_way.nodes.__setitem__(at, node)
    assert taken(long_way) == taken(Version(rows))


def test_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are part of the protocol between releases: another hash needs another format number."""
    monkeypatch.setattr(snapshots, "CHUNK_TARGET", 600)
    snapshot, chunks = taken(Version({b"k%d" % number: b"value %d" % number for number in range(100)}))
    assert len(chunks) == 4
    assert sha256(b"".join(chunks)).hex() == "c60f124cb45791cafcd9c8c0cac9b06a93515ca360f5af7ed1350bff3f06c7b4"
    assert snapshot.hash.hex() == "4006263a1219ce5365746be51787f109edbb23ef0ae784cde32e1061a812d94d"


def test_every_changed_byte_of_metadata_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "CHUNK_TARGET", 600)
    snapshot, _ = taken(Version({b"k%d" % number: b"value %d" % number for number in range(100)}))
    raw = snapshot.metadata
    for at in range(len(raw)):
        bent = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        try:
            found = decode_snapshot(bent)
        except DecodeError:
            continue
        assert found.hash != snapshot.hash and found != snapshot
        assert found.app_hash == snapshot.app_hash, "what still decodes leads to the same app hash"


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=300))
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_snapshot(raw)
    with pytest.raises(DecodeError):
        decode_rows(raw, Part(0, 0, bytes(32), bytes(32)))
    try:
        rows = decode_rows(raw, Part(0, 0, bytes(32), sha256(raw)))
    except DecodeError:
        return
    assert encode_rows(rows) == raw


def test_parts_that_do_not_tile_the_tree_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "CHUNK_TARGET", 300)
    snapshot, _ = taken(Version({b"k%d" % number: b"value %d" % number for number in range(100)}))
    parts = snapshot.parts
    assert len(parts) >= 6
    lists = [
        parts[1:],
        parts[:-1],
        parts + parts[-1:],
        parts[:2] + parts[3:],
        parts[1::-1] + parts[2:],
        (parts[0]._replace(depth=16), *parts[1:]),
        (parts[0]._replace(depth=255), *parts[1:]),
        (parts[0]._replace(prefix=1 << parts[0].depth), *parts[1:]),
        (Part(0, 0, parts[0].subtree, bytes(32)),),
    ]
    for wrong in lists:
        with pytest.raises(DecodeError):
            decode_snapshot(replace(snapshot, parts=tuple(wrong)).metadata)


def test_rows_out_of_place_are_refused() -> None:
    rows = sorted(((b"k%d" % number, b"v") for number in range(20)), key=lambda row: leaf_index(row[0]))
    left = [row for row in rows if not leaf_index(row[0]) >> (DEPTH - 1)]

    def decoded(held: list[tuple[bytes, bytes]], prefix: int = 0) -> list[tuple[bytes, bytes]]:
        raw = encode_rows(held)
        return decode_rows(raw, Part(1, prefix, bytes(32), sha256(raw)))

    assert decoded(left) == left
    for wrong in (rows, left[::-1], left[:1] * 2, [(b"", b"v")], [(left[0][0], b"")]):
        with pytest.raises(DecodeError):
            decoded(wrong)
    with pytest.raises(DecodeError):
        decoded(left, prefix=1)
    raw = encode_rows(left) + b"\x01"
    with pytest.raises(DecodeError):
        decode_rows(raw, Part(1, 0, bytes(32), sha256(raw)))


@pytest.mark.parametrize("damage", ["lost row", "changed row", "extra row", "lost node", "changed root"])
def test_a_version_that_contradicts_itself_gives_no_snapshot(damage: str) -> None:
    version = Version({b"k%d" % number: b"value %d" % number for number in range(100)})
    expected = version.app_hash
    if damage == "lost row":
        del version.rows[b"k7"]
    elif damage == "changed row":
        version.rows[b"k7"] = b"value 8"
    elif damage == "extra row":
        version.rows[b"more"] = b"x"
    elif damage == "lost node":
        del version.nodes[next(key for key, node in version.nodes.items() if node[:1] == b"L")]
    else:
        version.nodes[node_key(0, 0)] = b"B" + bytes(64)
    with pytest.raises((ValueError, AssertionError)):
        list(take(version, CHAIN, 7, expected))
