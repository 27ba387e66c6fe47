"""The user node's circuits and the links to their first relays; one link per relay, shared by all circuits that enter there."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from network.aio.dialer import UNREACHABLE, Dialer
from network.aio.links import (
    CELL_FRAME_LIMIT,
    CELL_PATH,
    LinkWriter,
    carry,
    cells_of,
)
from network.cell import DestroyReason
from network.chain_records import DirectoryEntry
from network.circuit import Circuit, State
from network.commands import Command, PassData, ReportClosed, ReportOpened, SendCell
from network.directory import Directory
from network.errors import CryptoError
from network.events import CellArrived, Event, LinkLost
from network.freshness import Rng
from network.geometry import LINK_ID, SOLUTION
from network.handshake import HopIdentity
from network.link_queue import CellQueue
from network.puzzle import solve

log = logging.getLogger(__name__)

TRIES = 4  # of one set-up that relays refuse for reasons that pass
MAX_BITS = 20  # the most zero bits that a puzzle may ask of this user: about a second for each hop
LINGER_SECONDS = 1.0
SLICE = 2_000  # candidates tried in one go: about two milliseconds

# A link to a first relay carries nobody's cells but ours, a window of each circuit at most: more than a relay's links may hold.
MAX_OWN_CELLS = 1 << 16


class OpenCircuit:
    """A circuit as its user sees it: three relays, data in and out, an end."""

    __slots__ = ("_core", "_on_data", "_on_end", "_on_lost", "_pool", "effort", "opened", "relays", "told")

    def __init__(self, core: Circuit, relays: Sequence[DirectoryEntry], pool: "CircuitPool") -> None:
        self._core = core
        self._pool = pool
        self._on_data: Callable[[bytes], None] | None = None
        self._on_end: Callable[[], None] | None = None
        self._on_lost: Callable[[OpenCircuit], None] | None = None
        self.relays = tuple(relays)
        self.told, self.effort = DestroyReason.NONE, 0  # why it was refused
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def is_open(self) -> bool:
        """Whether data may be sent."""
        return self._core.state is State.OPEN

    @property
    def link(self) -> int:
        """The number of the link to the first relay."""
        return self._core.link

    @property
    def link_id(self) -> bytes:
        """The circuit's name on that link."""
        return self._core.link_id

    def watch(self, on_lost: Callable[["OpenCircuit"], None]) -> None:
        """Call this when the circuit ends without us having closed it."""
        self._on_lost = on_lost

    def attach(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        """The session that uses the circuit from now on."""
        self._on_data, self._on_end = on_data, on_end

    def send(self, data: bytes) -> None:
        """One forward cell; what is sent on a circuit that just ended is lost, and its end is reported."""
        if self.is_open:
            self._pool.do(self, self._core.send(data))

    def close(self) -> None:
        """End it from our side."""
        self._on_data = self._on_end = self._on_lost = None
        self._pool.do(self, self._core.close())

    def build(self, now: float, solutions: Sequence[bytes], patience: float | None) -> None:
        """Send the set-up."""
        self._pool.do(self, self._core.build(now, solutions, patience))

    def on_event(self, event: Event, now: float) -> None:
        """A cell for this circuit, or the end of its link."""
        self._pool.do(self, self._core.on_event(event, now))

    def expire(self, now: float) -> None:
        """The set-up takes too long."""
        self._pool.do(self, self._core.expire(now))

    def on_data(self, data: bytes) -> None:
        """The pool passes data on."""
        if self._on_data is not None:
            self._on_data(data)

    def on_closed(self) -> None:
        """The pool reports the end."""
        if not self.opened.done():
            self.opened.set_result(False)
        if self._on_lost is not None:
            self._on_lost(self)
        if self._on_end is not None:
            self._on_end()
        self._on_data = self._on_end = self._on_lost = None


class _GuardLink:
    """The link to one first relay."""

    def __init__(self, number: int, relay: DirectoryEntry) -> None:
        self.number = number
        self.relay = relay
        self.queue = CellQueue(MAX_OWN_CELLS)
        self.writer = LinkWriter(self.queue, pads=True)
        self.circuits: dict[bytes, OpenCircuit] = {}
        self.task: asyncio.Task[None] | None = None
        self.retired = False
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class CircuitPool:
    """Builds circuits and routes their cells. `directory` answers with the newest verified directory."""

    def __init__(
        self,
        rng: Rng,
        clock: Callable[[], float],
        directory: Callable[[], Directory],
        dialer: Dialer | None = None,
        most_bits: int = MAX_BITS,
    ) -> None:
        """`most_bits` is how much work a relay may ask for; one that asks for more is as good as gone."""
        self._rng = rng
        self._clock = clock
        self._directory = directory
        self._most_bits = most_bits
        self._links: dict[int, _GuardLink] = {}
        self._by_relay: dict[bytes, _GuardLink] = {}
        self._numbers = 0
        self._dialer = dialer or Dialer()

    @property
    def open_circuits(self) -> int:
        """How many circuits are open."""
        return sum(circuit.is_open for link in self._links.values() for circuit in link.circuits.values())

    async def connect(self, relay: DirectoryEntry) -> bool:
        """Whether a link to this first relay stands or could be opened."""
        return await asyncio.shield(self._link_to(relay).opened)

    def is_linked(self, relay: DirectoryEntry) -> bool:
        """Whether the link to this first relay stands."""
        link = self._by_relay.get(relay.node_id)
        return link is not None and link.opened.done() and link.opened.result()

    def retire(self, relay: DirectoryEntry) -> None:
        """Dial this relay anew next time. The circuits that stand on its link keep it; with the last of them it ends."""
        link = self._by_relay.pop(relay.node_id, None)
        if link is not None:
            link.retired = True
            self._end_if_unused(link)

    def retire_unused(self, kept: Sequence[DirectoryEntry]) -> None:
        """End the links that carry no circuit, except to these relays."""
        names = {relay.node_id for relay in kept}
        for link in list(self._by_relay.values()):
            if link.relay.node_id not in names and not link.circuits and link.opened.done():
                self.retire(link.relay)

    async def build(
        self, relays: Sequence[DirectoryEntry], on_lost: Callable[[OpenCircuit], None], patience: float | None = None
    ) -> OpenCircuit | None:
        """An open circuit through these relays, or None when one of them refuses or does not answer in time.

        A relay that is busy has its puzzle solved, and one that does not know the directory yet, or any more, is asked
        again under the newest.
        """
        name, bits = self._directory().settled_name(self._clock()), 0
        for _ in range(TRIES):
            try:
                circuit = await self._try(relays, name, bits, patience)
            except CryptoError:
                log.info("a relay has registered an onion key that cannot be used")
                return None
            if circuit.is_open:
                circuit.watch(on_lost)
                return circuit
            newest = self._directory().name
            if circuit.told is DestroyReason.FOREIGN_DIRECTORY and name != newest:
                name = newest
            elif circuit.told is DestroyReason.BUSY and bits < circuit.effort <= self._most_bits:
                bits = circuit.effort
            else:
                return None
        return None

    async def _try(self, relays: Sequence[DirectoryEntry], directory: bytes, bits: int, patience: float | None) -> OpenCircuit:
        """One set-up, open or refused. Raises CryptoError when a relay's key cannot be used."""
        hops = [HopIdentity(relay.node_id, relay.onion_key) for relay in relays]
        core = Circuit(hops, directory, self._link_to(relays[0]).number, self._rng)
        solutions = [await self._solve(question, bits) for question in core.puzzles] if bits else []
        link = self._link_to(relays[0])  # another one, if that broke meanwhile
        core.link = link.number
        circuit = OpenCircuit(core, relays, self)
        link.circuits[core.link_id] = circuit
        circuit.build(self._clock(), solutions, patience)
        deadline = core.next_deadline()
        assert deadline is not None
        timer = asyncio.get_running_loop().call_later(
            max(0.0, deadline - self._clock()) + 0.01, lambda: circuit.expire(self._clock())
        )
        try:
            await circuit.opened
        except asyncio.CancelledError:
            circuit.close()
            raise
        finally:
            timer.cancel()
        return circuit

    async def _solve(self, question: bytes, bits: int) -> bytes:
        """A solution, found in a thread in slices so that the loop is never kept waiting for long."""
        while True:
            start = int.from_bytes(self._rng(SOLUTION), "big")
            solution = await asyncio.to_thread(solve, question, bits, start, SLICE)
            if solution is not None:
                return solution

    def do(self, circuit: OpenCircuit, commands: list[Command]) -> None:
        """Carry out what a circuit's core asks for."""
        for command in commands:
            match command:
                case SendCell(number, cell):
                    self._send(number, cell)
                case PassData(data):
                    circuit.on_data(data)
                case ReportOpened():
                    circuit.opened.set_result(True)
                case ReportClosed(_, told, effort):
                    self._forget(circuit)
                    circuit.told, circuit.effort = told, effort
                    circuit.on_closed()
                case _:
                    raise AssertionError(f"a circuit does not ask for {type(command).__name__}")

    async def close(self) -> None:
        """Close every link."""
        tasks = [link.task for link in self._links.values() if link.task is not None]
        await asyncio.sleep(0)  # let the writers put out the last DESTROY cells
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._dialer.aclose()

    def _link_to(self, relay: DirectoryEntry) -> _GuardLink:
        link = self._by_relay.get(relay.node_id)
        if link is None:
            self._numbers += 1
            link = self._by_relay[relay.node_id] = self._links[self._numbers] = _GuardLink(self._numbers, relay)
            link.task = asyncio.create_task(self._carry(link))
        return link

    async def _carry(self, link: _GuardLink) -> None:
        try:
            socket = await self._dialer.open_socket(link.relay, CELL_PATH, CELL_FRAME_LIMIT)
            link.opened.set_result(True)
            try:
                await carry(socket, link.writer, lambda frame: self._on_frame(link, frame))
            finally:
                await socket.close()
        except UNREACHABLE as error:
            log.info("cannot reach relay %s: %s", link.relay.name, type(error).__name__)
        finally:
            self._links.pop(link.number, None)
            if self._by_relay.get(link.relay.node_id) is link:
                del self._by_relay[link.relay.node_id]
            if not link.opened.done():
                link.opened.set_result(False)
            for circuit in tuple(link.circuits.values()):
                circuit.on_event(LinkLost(link.number), self._clock())

    def _on_frame(self, link: _GuardLink, frame: bytes) -> None:
        for cell in cells_of(frame):
            circuit = link.circuits.get(cell[:LINK_ID])
            if circuit is not None:
                circuit.on_event(CellArrived(link.number, cell), self._clock())

    def _send(self, number: int, cell: bytes) -> None:
        link = self._links.get(number)
        if link is None:
            return
        victim = link.queue.put(cell)
        link.writer.flush()
        shed = link.circuits.get(victim) if victim is not None else None
        if shed is not None:
            # Later, not now: its core may be in the middle of a command.
            asyncio.get_running_loop().call_soon(shed.on_event, LinkLost(number), self._clock())

    def _forget(self, circuit: OpenCircuit) -> None:
        link = self._links.get(circuit.link)
        if link is not None:
            link.circuits.pop(circuit.link_id, None)
            self._end_if_unused(link)

    def _end_if_unused(self, link: _GuardLink) -> None:
        if link.retired and not link.circuits and link.task is not None:
            # Later, not now: its writer still has the last DESTROY cells to put out.
            asyncio.get_running_loop().call_later(LINGER_SECONDS, link.task.cancel)
