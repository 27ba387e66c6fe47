"""A whole overlay in memory: real cores, links that are lists, and a wire-tap on every one of them."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.circuit import Circuit, State
from network.commands import (
    CloseLink,
    OpenCloveLink,
    OpenLink,
    PassData,
    SendCell,
    SendCells,
    SendHandover,
    StartReply,
    TellWhenWritten,
)
from network.crypto import SigningKey, exchange_public
from network.directory import Directory
from network.events import CellArrived, FrameArrived, HandoverArrived, LinkLost, LinkReady
from network.handshake import HopIdentity, OnionKey
from network.ids import Role, node_id
from network.terms import TERMS, Terms
from relay.core import RelayCore
from relay.limits import Limits
from serving_node.inbox import Inbox

NOW = 1_800_000_000.0
End = tuple[str, int]  # (node name, its number of the link)


@dataclass
class World:
    """Relays `r0`, `r1`, ..., a model node `m`, a user `u`. `deliver` runs until nothing is under way."""

    draw: Callable[[int], bytes]
    entries: dict[str, DirectoryEntry] = field(default_factory=dict)
    relays: dict[str, RelayCore] = field(default_factory=dict)
    peers: dict[End, End] = field(default_factory=dict)
    wire: deque[tuple[End, bytes]] = field(default_factory=deque)
    tapped: list[tuple[End, End, bytes]] = field(default_factory=list)
    circuits: dict[int, Circuit] = field(default_factory=dict)
    data: dict[int, list[bytes]] = field(default_factory=dict)
    requests: list[tuple[int, bytes]] = field(default_factory=list)
    tamper: Callable[[End, bytes], list[bytes]] = staticmethod(lambda source, raw: [raw])
    now: float = NOW
    limits: Limits = field(default_factory=Limits)
    terms: Terms = TERMS
    known: Directory | None = None

    def __post_init__(self) -> None:
        for number in range(3):
            self._add_relay(f"r{number}")
        key, private = SigningKey(self.draw(32)), self.draw(32)
        self.entries["m"] = DirectoryEntry(
            node_id(key.public), key.public, exchange_public(private), Role.MODEL, "m", "m", "fm", "g", bytes(32), 1, True
        )
        self.inbox = Inbox(private)

    def _add_relay(self, name: str) -> None:
        key, private = SigningKey(self.draw(32)), self.draw(32)
        public = exchange_public(private)
        self.entries[name] = DirectoryEntry(node_id(key.public), key.public, public, Role.RELAY, name, name, f"f-{name}")
        self.relays[name] = RelayCore(
            node_id(key.public), [OnionKey(private, public)], self.directory, self.draw, self.limits, self.terms
        )

    def directory(self) -> Directory:
        entries = tuple(sorted(self.entries.values(), key=lambda each: each.node_id))
        if self.known is None or self.known.record.entries != entries:
            height = 1 if self.known is None else self.known.height + 1
            self.known = Directory(DirectoryRecord("test", 1, height, b"", entries), height, self.known)
        return self.known

    def circuit(self, number: int = 1, path: tuple[str, ...] = ("r0", "r1", "r2")) -> Circuit:
        """A circuit of the user's, being built; its link to the first relay has the circuit's number."""
        self._connect(("u", number), path[0])
        hops = [HopIdentity(self.entries[name].node_id, self.entries[name].onion_key) for name in path]
        circuit = self.circuits[number] = Circuit(hops, self.directory().name, number, self.draw, self.terms)
        self.data[number] = []
        self.do("u", circuit.build(self.now))
        return circuit

    def opened(self, number: int = 1) -> Circuit:
        """A circuit that is ready."""
        circuit = self.circuit(number)
        self.deliver()
        assert circuit.state is State.OPEN
        return circuit

    def send(self, circuit: Circuit, data: list[bytes]) -> None:
        """Forward cells from the user."""
        for each in data:
            self.do("u", circuit.send(each))
        self.deliver()

    def inject(self, source: End, raw: bytes) -> None:
        """Put bytes on a link as its sender."""
        self.wire.append((source, raw))
        self.deliver()

    def cut(self, source: End) -> None:
        """Break a link: both ends notice."""
        other = self.peers.pop(source)
        del self.peers[other]
        for name, link in (source, other):
            self._tell(name, LinkLost(link))
        self.deliver()

    def deliver(self) -> None:
        while self.wire:
            source, raw = self.wire.popleft()
            target = self.peers.get(source)
            for each in self.tamper(source, raw):
                if target is not None:
                    self.tapped.append((source, target, each))
                    self._tell(target[0], self._arrival(source[0], target, each))

    @staticmethod
    def _arrival(source: str, target: End, raw: bytes) -> Any:
        if "m" in (source, target[0]):
            return HandoverArrived(target[1], raw)
        return CellArrived(target[1], raw) if target[0] == "u" else FrameArrived(target[1], raw)

    def _tell(self, name: str, event: Any) -> None:
        if name == "u":
            circuit = self.circuits[event.link]
            self.do("u", circuit.on_event(event, self.now), circuit)
        elif name == "m":
            self.do("m", self.inbox.on_event(event, self.now))
        else:
            self.do(name, self.relays[name].on_event(event, self.now))

    def do(self, name: str, commands: list[Any], circuit: Circuit | None = None) -> None:
        """Carry out what a core asks for."""
        for command in commands:
            match command:
                case SendCell(link, raw) | SendHandover(link, raw):
                    self.wire.append(((name, link), raw))
                case SendCells(link, cells):
                    self.wire.extend(((name, link), raw) for raw in cells)
                case TellWhenWritten(link):
                    self._tell(name, LinkReady(link))
                case OpenLink(link, node) | OpenCloveLink(link, node):
                    self._connect((name, link), node.address)
                case PassData(data):
                    assert circuit is not None
                    self.data[circuit.link].append(data)
                case StartReply(session, request):
                    self.requests.append((session, request))
                case CloseLink(link):
                    self.cut((name, link))

    def _connect(self, source: End, target: str) -> None:
        number = self.relays[target].new_link() if target in self.relays else 1000 + len(self.peers)
        self.peers[source], self.peers[target, number] = (target, number), source

    def counts(self, name: str) -> dict[str, int]:
        return {key: value for key, value in self.relays[name].counts.items() if key.startswith("dropped")}

    def open_circuits(self) -> int:
        return sum(len(relay.circuits) for relay in self.relays.values())


@pytest.fixture
def make_world() -> Callable[..., World]:
    """Worlds, each with the same seed."""
    return lambda **options: World(random.Random(11).randbytes, **options)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """One world."""
    return make_world()
