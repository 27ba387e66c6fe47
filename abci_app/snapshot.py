"""Snapshots: the rows of one height, cut along the app hash's tree, so that every chunk proves itself. Pure.

A chunk holds the rows of one subtree, by ascending leaf index. The metadata lists the subtrees, which tile the tree, with
their hashes: together they lead to the app hash, so metadata that does not fit a trusted app hash is refused before a
chunk is asked for, and a chunk is refused unless it is exactly what the state holds there. No time and no name goes in:
all replicas make the same bytes. Layout: `docs/ledger.md` section 2, reasons: `docs/adr/0080-snapshots-prove-themselves.md`.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from abci_app.state.app_hash import DEPTH, HASH_LENGTH, app_hash, inner_hash, leaf_hash, leaf_index
from abci_app.tree import Nodes, Tree
from network.codec import Message, blob, decode, decode_varint, encode, encode_varint, text, uint
from network.crypto import sha256
from network.errors import DecodeError

FORMAT = 1
# A subtree with more bytes of rows is cut in two, down to MOST_CUTS; single rows may be larger than this.
CHUNK_TARGET = 1024 * 1024
CHUNK_LIMIT = 8 * 1024 * 1024
MOST_CUTS = 15
_PART_LENGTH = 1 + 2 + 2 * HASH_LENGTH
_MOST_PART_BYTES = _PART_LENGTH << MOST_CUTS
METADATA_LIMIT = _MOST_PART_BYTES + 256


class Part(NamedTuple):
    """One chunk's place: its subtree (the indices that begin with the `depth` bits of `prefix`), that subtree's hash, and
    the hash of the chunk's bytes."""

    depth: int
    prefix: int
    subtree: bytes
    chunk: bytes


class Chunk(NamedTuple):
    """One finished chunk."""

    number: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Metadata(Message):
    """depth u8 | prefix u16-be | subtree hash 32 | chunk hash 32, for each part in the order of their indices."""

    chain_id: str = text(1, limit=64)
    height: int = uint(2)
    app_hash: bytes = blob(3, size=HASH_LENGTH)
    parts: bytes = blob(4, limit=_MOST_PART_BYTES)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot's metadata says. Its parts are known to tile the tree and to lead to its app hash."""

    chain_id: str
    height: int
    app_hash: bytes
    parts: tuple[Part, ...]

    @property
    def metadata(self) -> bytes:
        """The canonical bytes; their SHA-256 is the snapshot's hash."""
        parts = b"".join(
            bytes([part.depth]) + part.prefix.to_bytes(2, "big") + part.subtree + part.chunk for part in self.parts
        )
        return encode(_Metadata(self.chain_id, self.height, self.app_hash, parts))

    @property
    def hash(self) -> bytes:
        """What ABCI calls the snapshot's hash; it binds every chunk."""
        return sha256(self.metadata)


Step = Chunk | Snapshot | None


class Source(Protocol):
    """The version that a snapshot is taken of."""

    @property
    def nodes(self) -> Nodes:
        """Its tree's nodes."""

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, in ascending key order."""


def decode_snapshot(metadata: bytes) -> Snapshot:
    """The snapshot whose canonical metadata this is. Raises DecodeError, also when its parts do not lead to its app hash."""
    found = decode(_Metadata, metadata)
    if not found.chain_id or not found.height or not found.app_hash:
        raise DecodeError("a snapshot names its chain, height and app hash")
    if not found.parts or len(found.parts) % _PART_LENGTH:
        raise DecodeError("a snapshot's list of parts is empty or torn")
    parts = tuple(_part(found.parts[at : at + _PART_LENGTH]) for at in range(0, len(found.parts), _PART_LENGTH))
    if app_hash(_root(parts)) != found.app_hash:
        raise DecodeError("a snapshot's parts do not lead to its app hash")
    return Snapshot(found.chain_id, found.height, found.app_hash, parts)


def encode_rows(rows: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A chunk: uvarint count, then uvarint length | key | uvarint length | value for each row. Never empty, because
    CometBFT takes an empty chunk for a missing one."""
    return encode_varint(len(rows)) + b"".join(_row(key, value) for key, value in rows)


def decode_rows(raw: bytes, part: Part) -> list[tuple[bytes, bytes]]:
    """The rows of a chunk. Raises DecodeError unless they lie in the part's subtree, in strictly ascending order."""
    if sha256(raw) != part.chunk:
        raise DecodeError("a chunk is not the one that the snapshot lists")
    rows: list[tuple[bytes, bytes]] = []
    count, at = decode_varint(raw, 0)
    last = -1
    while at < len(raw):
        key, at = _field(raw, at)
        value, at = _field(raw, at)
        index = leaf_index(key)
        if index <= last or index >> (DEPTH - part.depth) != part.prefix:
            raise DecodeError("a chunk's rows are out of order or out of place")
        last = index
        rows.append((key, value))
    if len(rows) != count:
        raise DecodeError("a chunk does not hold as many rows as it says")
    return rows


def take(source: Source, chain_id: str, height: int, expected: bytes) -> Iterator[Step]:
    """Work out the snapshot of a version whose app hash is `expected`: None after every row, so that the caller can pause,
    each chunk when it is ready, and the snapshot at last. Raises ValueError when the version contradicts itself."""
    tree = Tree(source.nodes)
    sizes = yield from _sizes(source)
    parts: list[Part] = []
    for depth, prefix in _cut(sizes):
        rows: list[tuple[bytes, bytes]] = []
        for key, leaf in tree.leaves(depth, prefix):
            value = source.get(key)
            if value is None or leaf_hash(key, value) != leaf:
                raise ValueError(f"row {key.hex()} is missing, or not what the tree says")
            rows.append((key, value))
            yield None
        raw = encode_rows(rows)
        if len(raw) != len(encode_varint(len(rows))) + _between(sizes, depth, prefix):
            raise ValueError(f"the subtree {depth}/{prefix} does not hold the rows that lie there")
        parts.append(Part(depth, prefix, tree.subtree(depth, prefix), sha256(raw)))
        yield Chunk(len(parts) - 1, raw)
    if app_hash(_root(parts)) != expected:
        raise ValueError("the tree does not lead to the app hash")
    yield Snapshot(chain_id, height, expected, tuple(parts))


def _sizes(source: Source) -> Generator[None, None, list[int]]:
    """The bytes of rows before each of the finest subtrees, and in all of them."""
    sizes = [0] * ((1 << MOST_CUTS) + 1)
    for key, value in source.scan(b""):
        sizes[(leaf_index(key) >> (DEPTH - MOST_CUTS)) + 1] += len(_row(key, value))
        yield None
    for at in range(1, len(sizes)):
        sizes[at] += sizes[at - 1]
    return sizes


def _between(sizes: Sequence[int], depth: int, prefix: int) -> int:
    finest = MOST_CUTS - depth
    return sizes[(prefix + 1) << finest] - sizes[prefix << finest]


def _cut(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The subtrees to make chunks of, in the order of their indices."""
    ahead = [(0, 0)]
    while ahead:
        depth, prefix = ahead.pop()
        if depth == MOST_CUTS or _between(sizes, depth, prefix) <= CHUNK_TARGET:
            yield depth, prefix
        else:
            ahead += [(depth + 1, prefix << 1 | 1), (depth + 1, prefix << 1)]


def _root(parts: Sequence[Part]) -> bytes:
    """The root above parts that tile the tree, in order. Raises DecodeError when they do not."""
    done: list[tuple[int, int, bytes]] = []
    for depth, prefix, subtree, _ in parts:
        if depth > MOST_CUTS or prefix >> depth:
            raise DecodeError("a snapshot's part lies nowhere")
        at, bits, node = depth, prefix, subtree
        while bits & 1 and done and done[-1][:2] == (at, bits - 1):
            node = inner_hash(done.pop()[2], node)
            at, bits = at - 1, bits >> 1
        done.append((at, bits, node))
    if len(done) != 1 or done[0][:2] != (0, 0):
        raise DecodeError("a snapshot's parts do not tile the tree")
    return done[0][2]


def _part(raw: bytes) -> Part:
    return Part(raw[0], int.from_bytes(raw[1:3], "big"), raw[3 : 3 + HASH_LENGTH], raw[3 + HASH_LENGTH :])


def _row(key: bytes, value: bytes) -> bytes:
    return encode_varint(len(key)) + key + encode_varint(len(value)) + value


def _field(raw: bytes, at: int) -> tuple[bytes, int]:
    length, at = decode_varint(raw, at)
    if not 0 < length <= len(raw) - at:
        raise DecodeError("a chunk is torn, or a key or value in it is empty")
    return raw[at : at + length], at + length
