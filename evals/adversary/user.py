"""The user's machine: real circuits over shared links to first relays, real sessions over those circuits."""

from collections.abc import Callable, Sequence
from typing import Any

from evals.adversary.machines import Alarm, Machine, World
from evals.adversary.wires import Carries, pieces
from network.chain_records import DirectoryEntry
from network.circuit import Circuit, State
from network.commands import (
    BlamePath,
    Command,
    DeliverFrame,
    EndSession,
    PassData,
    ReplacePath,
    ReportClosed,
    ReportOpened,
    SendCell,
    SendData,
)
from network.errors import PlanetServeError
from network.events import CellArrived, Event, FrameArrived, LinkLost, PathData, PathLost, PathNotReplaced, PathReplaced
from network.geometry import GEOMETRY, LINK_ID
from network.handshake import HopIdentity
from network.inference import FrameKind, ReplyFrame
from network.session import Session
from network.terms import TERMS, Terms


class UserCircuit:
    """One circuit, its relays, what it brought and why it ended."""

    def __init__(self, user: "UserMachine", relays: Sequence[DirectoryEntry], link: int, terms: Terms = TERMS) -> None:
        self.relays = tuple(relays)
        self.user = user
        self.link = link
        hops = [HopIdentity(relay.node_id, relay.onion_key) for relay in relays]
        name = user.network.directory_of(user.name).settled_name(user.network.clock.now)
        self.core = Circuit(hops, name, link, user.rng, terms)
        self.data: list[bytes] = []
        self.ended: str | None = None
        self.on_data: Callable[[bytes], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.on_open: Callable[[], None] | None = None
        self._alarm = Alarm(user.network, self.core, self.do)

    @property
    def is_open(self) -> bool:
        """Whether data may be sent."""
        return self.core.state is State.OPEN

    def build(self) -> None:
        """Send the set-up."""
        self.do(self.core.build(self.user.network.clock.now))

    def send(self, data: bytes) -> None:
        """One forward cell."""
        if self.is_open:
            self.do(self.core.send(data))

    def close(self) -> None:
        """End it from the user's side."""
        self.do(self.core.close())

    def on_event(self, event: Event) -> None:
        """A cell of this circuit, or the end of its link."""
        self.do(self.core.on_event(event, self.user.network.clock.now))

    def do(self, commands: list[Command]) -> None:
        """Carry out what the core asks for."""
        for command in commands:
            match command:
                case SendCell(link, cell):
                    self.user.send(link, cell)
                case PassData(data):
                    self.data.append(data)
                    if self.on_data is not None:
                        self.on_data(data)
                case ReportOpened():
                    if self.on_open is not None:
                        self.on_open()
                case ReportClosed(reason):
                    self.ended = reason
                    self.user.forget(self)
                    if self.on_end is not None:
                        self.on_end()
        self._alarm.set()


class Asked:
    """One prompt over n circuits, and what came of it."""

    def __init__(
        self,
        user: "UserMachine",
        request: bytes,
        entry: DirectoryEntry,
        circuits: Sequence[UserCircuit],
        spare: Sequence[Sequence[DirectoryEntry]] = (),
        **options: Any,
    ) -> None:
        self.circuits = list(circuits)
        self.session = Session(request, entry, user.network.clock.now, user.rng, **options)
        self._spare = list(spare)
        self.frames: list[ReplyFrame] = []
        self.blamed: list[tuple[int, str]] = []
        self.error: PlanetServeError | None = None
        self.ended = False
        self._user = user
        self._alarm = Alarm(user.network, self.session, self._do)
        for path, circuit in enumerate(self.circuits):
            self._listen(path, circuit)
        self._do(self.session.start(user.network.clock.now))
        for path, circuit in enumerate(self.circuits):
            if not circuit.is_open:
                self._tell(PathLost(path))

    @property
    def answer(self) -> bytes:
        """The text that came so far."""
        return b"".join(frame.payload for frame in self.frames if frame.kind == FrameKind.DELTA)

    @property
    def whole(self) -> bool:
        """Whether the answer is complete."""
        return self.ended and self.error is None

    def _listen(self, path: int, circuit: UserCircuit) -> None:
        circuit.on_data = lambda data: self._tell(PathData(path, data))
        circuit.on_end = lambda: self._tell(PathLost(path))

    def _replace(self, path: int) -> None:
        """A fresh circuit over the next of the spare relays, if any are left."""
        self.circuits[path].on_data = self.circuits[path].on_end = None
        self.circuits[path].close()
        if not self._spare:
            self._user.network.clock.after(0.0, lambda: self._tell(PathNotReplaced(path)))
            return
        circuit = self.circuits[path] = self._user.circuit(self._spare.pop(0))

        def opened() -> None:
            self._listen(path, circuit)
            self._tell(PathReplaced(path))

        circuit.on_open, circuit.on_end = opened, lambda: self._tell(PathNotReplaced(path))

    def _tell(self, event: Event) -> None:
        if not self.ended:
            self._do(self.session.on_event(event, self._user.network.clock.now))

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case SendData(path, data):
                    self.circuits[path].send(data)
                case DeliverFrame(frame):
                    self.frames.append(frame)
                case BlamePath(path, reason):
                    self.blamed.append((path, reason))
                case ReplacePath(path):
                    self._replace(path)
                case EndSession(error):
                    self.ended, self.error = True, error
                    for circuit in self.circuits:
                        circuit.on_data = circuit.on_end = circuit.on_open = None
                        circuit.close()
        self._alarm.set()


class UserMachine(Machine):
    """A user node."""

    def __init__(self, network: World, name: str) -> None:
        super().__init__(network, name)
        self.rng = network.rng(name)
        self._link_to: dict[bytes, int] = {}
        self._circuits: dict[int, dict[bytes, UserCircuit]] = {}

    def circuit(self, relays: Sequence[DirectoryEntry], terms: Terms = TERMS) -> UserCircuit:
        """A circuit through these relays, being built; its user's end keeps `terms`."""
        link = self.link_to(relays[0])
        circuit = UserCircuit(self, relays, link, terms)
        self._circuits[link][circuit.core.link_id] = circuit
        circuit.build()
        return circuit

    def link_to(self, relay: DirectoryEntry) -> int:
        """The link to a first relay; made when there is none."""
        link = self._link_to.get(relay.node_id)
        if link is None:
            link = self._link_to[relay.node_id] = self.new_link()
            self._circuits[link] = {}
            self.network.connect((self.name, link), relay, Carries.CELLS)
        return link

    def opened(self, relays: Sequence[DirectoryEntry], terms: Terms = TERMS) -> UserCircuit:
        """A circuit through these relays that stands. Raises when one of them refuses."""
        circuit = self.circuit(relays, terms)
        assert self.network.clock.run_until(lambda: circuit.is_open or circuit.ended is not None, 60.0)
        assert circuit.is_open, circuit.ended
        return circuit

    def path_set(self, paths: Sequence[Sequence[DirectoryEntry]]) -> list[UserCircuit]:
        """One circuit over every path; waits until each stands or has failed."""
        circuits = [self.circuit(path) for path in paths]
        self.network.clock.run_until(lambda: all(c.is_open or c.ended is not None for c in circuits), 60.0)
        return circuits

    def ask(
        self,
        request: bytes,
        entry: DirectoryEntry,
        circuits: Sequence[UserCircuit],
        spare: Sequence[Sequence[DirectoryEntry]] = (),
        **options: Any,
    ) -> Asked:
        """Send a prompt over these circuits, which end with the answer; `spare` relays make up for circuits that are lost.

        `options` are the session's.
        """
        assert len(circuits) == GEOMETRY.n
        return Asked(self, request, entry, circuits, spare, **options)

    def on_event(self, event: Event) -> None:
        """Route what a link brings to its circuit."""
        if isinstance(event, LinkLost):
            self._link_to = {node: link for node, link in self._link_to.items() if link != event.link}
            for circuit in tuple(self._circuits.pop(event.link, {}).values()):
                circuit.on_event(event)
        elif isinstance(event, FrameArrived):
            circuit_of = self._circuits.get(event.link, {})
            for cell in pieces(event.frame):
                found = circuit_of.get(cell[:LINK_ID])
                if found is not None:
                    found.on_event(CellArrived(event.link, cell))

    def forget(self, circuit: UserCircuit) -> None:
        """It has ended."""
        self._circuits.get(circuit.link, {}).pop(circuit.core.link_id, None)
