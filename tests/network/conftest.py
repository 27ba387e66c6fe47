"""Builders for the overlay's tests: a playbook that reads as a transcript, and relays that live in memory."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from network.cell import CellKind, decode_cell, encode_cell
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.crypto import SigningKey, exchange_public
from network.directory import Directory
from network.geometry import GEOMETRY
from network.handshake import OnionKey, RelayHandshake
from network.ids import Role, node_id
from network.light_headers import (
    BlockId,
    CommitSignature,
    Header,
    LightBlock,
    SignedHeader,
    Timestamp,
    Validator,
    ValidatorSet,
    header_hash,
    precommit_bytes,
)
from network.onion import RelayLayer

NOW = 1_800_000_000.0
DIRECTORY = b"directory-name.."


class Playbook:
    """`book >> event` tells a core what happened; `book << [...]` says which commands must have come of it.

    An expected command may be a class, an instance or a predicate. Nothing may be left over at the end.
    """

    def __init__(self, core: Any, now: float = NOW) -> None:
        self.core = core
        self.now = now
        self.pending: list[Any] = []

    def __rshift__(self, event: Any) -> "Playbook":
        assert self.pending == [], f"commands that nobody expected: {self.pending}"
        self.pending = list(self.core.on_event(event, self.now))
        return self

    def __lshift__(self, expected: Any) -> "Playbook":
        wanted = expected if isinstance(expected, list) else [expected]
        for want in wanted:
            assert self.pending, f"{want} was expected, but nothing came"
            got = self.pending.pop(0)
            if isinstance(want, type):
                assert isinstance(got, want), f"{got} instead of {want.__name__}"
            elif callable(want):
                assert want(got), f"{got} is not what was expected"
            else:
                assert got == want
        return self

    def at(self, now: float) -> "Playbook":
        """Time passes, and the core's deadline with it."""
        assert self.pending == [], f"commands that nobody expected: {self.pending}"
        self.now = now
        self.pending = list(self.core.expire(now))
        return self

    def nothing(self) -> "Playbook":
        """Nothing (more) came of it."""
        assert self.pending == [], f"commands that nobody expected: {self.pending}"
        return self


@dataclass
class MemoryRelay:
    """A relay's crypto without its core: enough to answer one circuit."""

    private: bytes
    entry: DirectoryEntry
    layer: RelayLayer | None = None


@dataclass
class MemoryPath:
    """The far side of one circuit: opens CREATE, answers CREATED, peels and wraps."""

    relays: Sequence[MemoryRelay]
    rng: Callable[[int], bytes]
    link_id: bytes = b""
    received: list[bytes] = field(default_factory=list)

    def created(self, cell: bytes, now: float = NOW) -> bytes:
        """The CREATED cell that answers this CREATE cell."""
        self.link_id, kind, body = decode_cell(cell)
        assert kind is CellKind.CREATE
        handshakes = []
        for relay in self.relays:
            handshake = RelayHandshake(
                body, relay.entry.node_id, OnionKey(relay.private, relay.entry.onion_key), [DIRECTORY], now, self.rng
            )
            relay.layer = RelayLayer(handshake.keys)
            handshakes.append(handshake)
            body = handshake.rest
        answer = self.rng(GEOMETRY.cell_body)
        for handshake in reversed(handshakes):
            answer = handshake.created(answer)
        return encode_cell(self.link_id, CellKind.CREATED, answer)

    def data(self, cell: bytes) -> bytes:
        """What the last hop reads in a forward cell."""
        _, kind, body = decode_cell(cell)
        assert kind is CellKind.FORWARD
        for relay in self.relays:
            assert relay.layer is not None
            body = relay.layer.peel(body)
        assert self.relays[-1].layer is not None
        return self.relays[-1].layer.data(body)

    def backward(self, data: bytes) -> bytes:
        """The backward cell that carries the last hop's data to the user."""
        layers = [relay.layer for relay in self.relays if relay.layer is not None]
        body = layers[-1].originate(data)
        for layer in reversed(layers[:-1]):
            body = layer.wrap(body)
        return encode_cell(self.link_id, CellKind.BACKWARD, body)


def _entry(number: int, role: Role, draw: Callable[[int], bytes]) -> tuple[bytes, DirectoryEntry]:
    key, private = SigningKey(draw(32)), draw(32)
    group = "group" if role is Role.MODEL else ""
    entry = DirectoryEntry(
        node_id=node_id(key.public),
        signing_key=key.public,
        onion_key=exchange_public(private),
        role=role,
        name=f"{role.name.lower()}-{number}",
        address=f"127.0.0.1:{9000 + number}",
        family=f"family-{role.name}-{number}",
        group=group,
        model_hash=bytes(32) if group else b"",
        reputation=500_000_000 if group else 0,
        trusted=bool(group),
    )
    return private, entry


@pytest.fixture
def draw() -> Callable[[int], bytes]:
    """Seeded randomness."""
    return random.Random(7).randbytes


@pytest.fixture
def playbook() -> type[Playbook]:
    """The playbook's class."""
    return Playbook


@pytest.fixture
def memory_path(draw: Callable[[int], bytes]) -> MemoryPath:
    """Three relays in memory."""
    return MemoryPath([MemoryRelay(*_entry(number, Role.RELAY, draw)) for number in range(GEOMETRY.hops)], draw)


@pytest.fixture
def model_node(draw: Callable[[int], bytes]) -> tuple[bytes, DirectoryEntry]:
    """A model node's onion private key and directory entry."""
    return _entry(0, Role.MODEL, draw)


@pytest.fixture
def directory_of(draw: Callable[[int], bytes]) -> Callable[..., Directory]:
    """Makes a directory of trusted relays; `families` names each one's family."""

    def make(families: Sequence[str], addresses: Sequence[str] = ()) -> Directory:
        entries = []
        for number, family in enumerate(families):
            _, entry = _entry(number, Role.RELAY, draw)
            address = addresses[number] if addresses else entry.address
            entries.append(replace(entry, family=family, address=address, trusted=True))
        entries.sort(key=lambda each: each.node_id)
        return Directory(DirectoryRecord("test-chain", 1, 10, b"", tuple(entries)), 10)

    return make


Members = Sequence[tuple[SigningKey, int]]


def _sign_block(
    members: Members,
    coming: Members | None = None,
    *,
    height: int,
    time: Timestamp,
    chain_id: str = "test-chain",
    silent: Sequence[SigningKey] = (),
    round_: int = 0,
    **changes: Any,
) -> LightBlock:
    """A block that `members` signed, all but the silent ones; `coming` is the next height's set, `changes` other fields."""
    validators, after = (
        ValidatorSet(Validator(key.public, power) for key, power in keys) for keys in (members, coming or members)
    )
    fields: dict[str, Any] = {
        "last_commit_hash": b"\x03" * 32,
        "data_hash": b"\x04" * 32,
        "consensus_hash": b"\x05" * 32,
        "app_hash": b"\x06" * 32,
        "last_results_hash": b"\x07" * 32,
        "evidence_hash": b"\x08" * 32,
        "proposer_address": validators.validators[0].address,
        "last_block_id": BlockId(b"\x01" * 32, 1, b"\x02" * 32),
        **changes,
    }
    header = Header(
        version_block=11,
        version_app=1,
        chain_id=chain_id,
        height=height,
        time=time,
        validators_hash=validators.hash,
        next_validators_hash=after.hash,
        **fields,
    )
    unsigned = SignedHeader(header, height, round_, BlockId(header_hash(header), 1, b"\x09" * 32), ())
    keys = {key.public: key for key, _ in members}
    quiet = {key.public for key in silent}
    at = Timestamp(time.seconds, 9)
    message = precommit_bytes(unsigned, at, chain_id)
    places = tuple(
        CommitSignature(1, b"", Timestamp(-62_135_596_800, 0), b"")
        if entry.public_key in quiet
        else CommitSignature(2, entry.address, at, keys[entry.public_key].sign(message))
        for entry in validators.validators
    )
    return LightBlock(SignedHeader(header, height, round_, unsigned.block_id, places), validators)


@pytest.fixture(scope="session")
def sign_block() -> Callable[..., LightBlock]:
    """Makes blocks signed by any validators."""
    return _sign_block
