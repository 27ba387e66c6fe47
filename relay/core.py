"""The relay: cells in, cells out. Sans-IO; knows neighbours by link number, never who asks nor what.

A cell is peeled or wrapped and passed on under the next link's id. Anything malformed, unknown, altered or replayed is
dropped and counted; an altered cell also ends its circuit, both ways. Implements `docs/overlay.md` sections 3 and 4;
what the last hop of a circuit does besides is in `proxy.py`.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from network.cell import CellKind, DestroyReason, decode_cell, decode_credit, decode_destroy, destroy_cell, encode_cell
from network.commands import Command, OpenLink
from network.directory import Directory
from network.errors import CryptoError, DecodeError, LocalProtocolError
from network.events import CellsShed, Event, FrameArrived, HandoverArrived, LinkLost, LinkReady
from network.freshness import Rng
from network.geometry import CELLS_PER_FRAME, GEOMETRY, KIND, LINK_ID
from network.handshake import OnionKey, RelayHandshake
from network.ids import Role
from network.onion import KeysSpent, RelayLayer
from network.terms import TERMS, Terms
from relay.circuit_table import SWEEP_SECONDS, CircuitTable, RelayedCircuit
from relay.courier import Courier, RelayFlow
from relay.entrance import Entrance, Refusal
from relay.limits import Limits
from relay.outward import OutwardLinks
from relay.proxy import Proxy

DEFAULT_LIMITS = Limits()
_CELL, _BODY = GEOMETRY.cell, LINK_ID + KIND
_FORWARD, _BACKWARD = bytes((CellKind.FORWARD,)), bytes((CellKind.BACKWARD,))


class RelayCore:
    """One relay. `directory` answers with the newest verified directory; the relay connects to nobody else.

    `onion_keys` are those that set-ups may be sealed to, newest first.
    """

    __slots__ = (
        "_courier",
        "_directory",
        "_entrance",
        "_next_link",
        "_node_id",
        "_outward",
        "_proxy",
        "_rng",
        "_sweep_at",
        "_terms",
        "circuits",
        "counts",
        "limits",
    )

    def __init__(
        self,
        node_id: bytes,
        onion_keys: Sequence[OnionKey],
        directory: Callable[[], Directory],
        rng: Rng,
        limits: Limits = DEFAULT_LIMITS,
        terms: Terms = TERMS,
    ) -> None:
        self._node_id = node_id
        self._entrance = Entrance(node_id, onion_keys, directory, rng, limits)
        self._directory = directory
        self._rng = rng
        self.limits = limits
        self._terms = terms
        self._courier = Courier(limits)
        self._next_link = 0
        self._outward = OutwardLinks(OpenLink, self.new_link, self._courier, limits.idle_link_seconds)
        self._sweep_at: float | None = None
        self.circuits = CircuitTable(limits)
        self.counts: Counter[str] = Counter()
        self._proxy = Proxy(directory, limits, self._courier, self.counts, self.new_link, self._end)

    @property
    def queued_cells(self) -> int:
        """How many cells wait for credit or for a link."""
        return self._courier.waiting_cells

    @property
    def onion_keys(self) -> tuple[OnionKey, ...]:
        """The keys that set-ups are opened with, newest first."""
        return self._entrance.onion_keys

    def use_onion_keys(self, onion_keys: Sequence[OnionKey]) -> None:
        """From now on set-ups are opened with these keys, newest first; circuits that stand are not touched."""
        self._entrance.onion_keys = tuple(onion_keys)

    def new_link(self) -> int:
        """A number for a link that was accepted or will be opened."""
        self._next_link += 1
        return self._next_link

    def on_event(self, event: Event, now: float) -> list[Command]:
        """A frame or message arrived, or something happened to a link."""
        if isinstance(event, FrameArrived):
            self._on_frame(event.link, event.frame, now)
        elif isinstance(event, HandoverArrived):
            self._on_message(event, now)
        elif isinstance(event, LinkReady):
            self._courier.link_ready(event.link)
        elif isinstance(event, LinkLost):
            self._on_link_lost(event.link, now)
        elif isinstance(event, CellsShed):
            self._on_cells_shed(event)
        else:
            raise LocalProtocolError(f"a relay is not told about {type(event).__name__}")
        return self._courier.take()

    def expire(self, now: float) -> list[Command]:
        """End circuits that nobody uses, close links that carry none."""
        if self._sweep_at is None or now < self._sweep_at:
            return []
        for circuit in self.circuits.expired(now):
            self.counts["circuits_expired"] += 1
            self._destroy(circuit, DestroyReason.EXPIRED)
        self._proxy.close_unused(now)
        self._outward.close_unused(self.circuits.uses, now)
        busy = len(self.circuits) or len(self._outward) or self._proxy.busy
        self._sweep_at = now + SWEEP_SECONDS if busy else None
        return self._courier.take()

    def next_deadline(self) -> float | None:
        """When `expire` has something to do; None on a relay that carries nothing."""
        return self._sweep_at

    def _on_frame(self, link: int, frame: bytes, now: float) -> None:
        count, rest = divmod(len(frame), _CELL)
        if rest or not 1 <= count <= CELLS_PER_FRAME:
            self._drop("malformed")
            return
        self.counts["cells"] += count
        if link in self._outward:
            self._on_outer_frame(link, frame, now)
        else:
            self._on_inner_frame(link, frame, now)
        if self._courier.waiting_cells:
            self._shed()

    def _on_inner_frame(self, link: int, frame: bytes, now: float) -> None:
        """Cells from the user's side. What is common comes first and is spelt out: this runs for every cell."""
        view, circuits = memoryview(frame), self.circuits.inner(link)
        for at in range(0, len(frame), _CELL):
            circuit = circuits.get(frame[at : at + LINK_ID])
            if circuit is None or circuit.handshake is not None or frame[at + LINK_ID] != CellKind.FORWARD:
                self._on_rare_inner_cell(link, circuit, frame[at : at + _CELL], now)
                circuits = self.circuits.inner(link)
                continue
            try:
                cell = circuit.layer.peel(view[at + _BODY : at + _CELL], circuit.prefix_out)
            except CryptoError as error:
                self._end(circuit, "keys_spent" if isinstance(error, KeysSpent) else "altered")
                continue
            circuit.used = now
            if circuit.link_out is None:
                self._on_data(circuit, cell, now)
            elif circuit.forward.waiting and circuit.forward.is_full:
                self._end(circuit, "over_window")
            else:
                self._courier.send(circuit.forward, cell, now)

    def _on_outer_frame(self, link: int, frame: bytes, now: float) -> None:
        """Cells from the next hop's side."""
        view, circuits = memoryview(frame), self.circuits.outer(link)
        for at in range(0, len(frame), _CELL):
            circuit = circuits.get(frame[at : at + LINK_ID])
            if circuit is None or circuit.handshake is not None or frame[at + LINK_ID] != CellKind.BACKWARD:
                self._on_rare_outer_cell(circuit, frame[at : at + _CELL])
                continue
            circuit.used = now
            if circuit.backward.waiting and circuit.backward.is_full:
                self._end(circuit, "over_window")
                continue
            try:
                cell = circuit.layer.wrap(view[at + _BODY : at + _CELL], circuit.prefix_in)
            except KeysSpent:
                self._end(circuit, "keys_spent")
                continue
            self._courier.send(circuit.backward, cell, now)

    def _on_rare_inner_cell(self, link: int, circuit: RelayedCircuit | None, cell: bytes, now: float) -> None:
        """Anything but data from the user's side."""
        try:
            link_id, kind, body = decode_cell(cell)
        except DecodeError:
            return self._drop("malformed")
        if kind is CellKind.PAD:
            return None
        if kind is CellKind.CREATE:
            return self._drop("id_in_use") if circuit is not None else self._on_create(link, link_id, body, now)
        if circuit is None:
            # A cell may cross the DESTROY of its circuit, so this is common and harmless.
            return self._drop("unknown_circuit")
        if kind is CellKind.DESTROY:
            return self._destroy(circuit, tell_inner=False)
        if kind is CellKind.CREDIT and circuit.handshake is None:
            return self._on_credit(circuit, circuit.backward, body)
        return self._drop("out_of_place")

    def _on_rare_outer_cell(self, circuit: RelayedCircuit | None, cell: bytes) -> None:
        """Anything but data from the next hop's side."""
        try:
            _, kind, body = decode_cell(cell)
        except DecodeError:
            return self._drop("malformed")
        if kind is CellKind.PAD:
            return None
        if circuit is None:
            return self._drop("unknown_circuit")
        if kind is CellKind.DESTROY:
            told = decode_destroy(body) if circuit.handshake is not None else (DestroyReason.NONE, 0)
            return self._destroy(circuit, *told, tell_outer=False)
        if kind is CellKind.CREATED and circuit.handshake is not None:
            created, circuit.handshake = circuit.handshake.created(body), None
            return self._courier.control(circuit.link_in, encode_cell(circuit.id_in, CellKind.CREATED, created))
        if kind is CellKind.CREDIT and circuit.handshake is None:
            return self._on_credit(circuit, circuit.forward, body)
        return self._drop("out_of_place")

    def _on_credit(self, circuit: RelayedCircuit, flow: RelayFlow, body: bytes) -> None:
        try:
            flow.grant(decode_credit(body))
        except DecodeError:
            self._end(circuit, "bad_credit")
        else:
            self._courier.drain(flow)

    def _on_data(self, circuit: RelayedCircuit, cell: bytes, now: float) -> None:
        """A cell reached the last hop."""
        try:
            self._proxy.on_data(circuit, circuit.layer.data(cell), now)
        except DecodeError:
            self._end(circuit, "bad_data")
        else:
            self._courier.passed_on(circuit.forward)

    def _on_message(self, event: HandoverArrived, now: float) -> None:
        self._proxy.on_message(event.link, event.raw, now)
        if self._courier.waiting_cells:
            self._shed()

    def _on_create(self, link: int, link_id: bytes, body: bytes, now: float) -> None:
        if not self.circuits.has_room(link):
            return self._refuse(link, link_id, "full", DestroyReason.BUSY)
        handshake = self._entrance.open(link, body, now)
        if isinstance(handshake, Refusal):
            return self._refuse(link, link_id, *handshake)
        circuit = self._extend(link, link_id, handshake, now)
        if circuit is None:
            return self._refuse(link, link_id, "unknown_next_hop")
        self.circuits.add(circuit)
        self.counts["circuits"] += 1
        self._sweep_at = self._sweep_at or now + SWEEP_SECONDS
        return None

    def _extend(self, link: int, link_id: bytes, handshake: RelayHandshake, now: float) -> RelayedCircuit | None:
        """Answer at the last hop, else pass the rest of CREATE on; None when the next hop is not a live relay."""
        name, inward = (link, link_id), self._courier.outlet(link)
        layer = RelayLayer(handshake.keys, self._terms)
        if handshake.next_hop is None:
            body = handshake.created(self._rng(GEOMETRY.cell_body))
            self._courier.control(link, encode_cell(link_id, CellKind.CREATED, body))
            forward, backward = RelayFlow(self._terms, name, None, name), RelayFlow(self._terms, name, inward, None)
            return RelayedCircuit(link, link_id, layer, forward, backward, link_id + _BACKWARD, born=now, used=now)
        node = self._directory().get(handshake.next_hop)
        if node is None or node.role != Role.RELAY or node.node_id == self._node_id:
            return None
        link_out, id_out = self._outward.to(node), self._rng(LINK_ID)
        self._courier.control(link_out, encode_cell(id_out, CellKind.CREATE, handshake.rest))
        forward = RelayFlow(self._terms, name, self._courier.outlet(link_out), name)
        backward = RelayFlow(self._terms, name, inward, (link_out, id_out))
        circuit = RelayedCircuit(link, link_id, layer, forward, backward, link_id + _BACKWARD, born=now, used=now)
        circuit.link_out, circuit.id_out, circuit.prefix_out = link_out, id_out, id_out + _FORWARD
        circuit.handshake = handshake
        return circuit

    def _on_link_lost(self, link: int, now: float) -> None:
        self._outward.lost(link)
        for circuit in self.circuits.on_link(link):
            self._destroy(circuit, tell_inner=circuit.link_in != link, tell_outer=circuit.link_out != link)
        self._proxy.on_link_lost(link, now)
        self._courier.link_lost(link)
        self._entrance.link_lost(link)

    def _on_cells_shed(self, event: CellsShed) -> None:
        circuit = self.circuits.inner(event.link).get(event.link_id) or self.circuits.outer(event.link).get(event.link_id)
        self.counts["circuits_shed"] += 1
        if circuit is not None:
            self._destroy(circuit, DestroyReason.SHED)

    def _shed(self) -> None:
        """Too much waits in this relay: end the circuits whose cells have waited longest."""
        for link, link_id in self._courier.to_shed():
            self.counts["circuits_shed"] += 1
            self._destroy(self.circuits.inner(link)[link_id], DestroyReason.SHED)

    def _end(self, circuit: RelayedCircuit, why: str) -> None:
        """Something about the circuit is wrong: count it, and end it both ways."""
        self._drop(why)
        self._destroy(circuit)

    def _destroy(
        self,
        circuit: RelayedCircuit,
        reason: DestroyReason = DestroyReason.NONE,
        effort: int = 0,
        *,
        tell_inner: bool = True,
        tell_outer: bool = True,
    ) -> None:
        """End a circuit both ways; only the user's side hears why."""
        self.circuits.remove(circuit)
        self.counts["circuits_closed"] += 1
        self._proxy.release(circuit)
        self._courier.forget(circuit.forward)
        self._courier.forget(circuit.backward)
        if tell_inner:
            self._courier.control(circuit.link_in, destroy_cell(circuit.id_in, reason, effort))
        if tell_outer and circuit.link_out is not None:
            self._courier.control(circuit.link_out, destroy_cell(circuit.id_out))

    def _refuse(
        self, link: int, link_id: bytes, why: str, reason: DestroyReason = DestroyReason.REFUSED, effort: int = 0
    ) -> None:
        self._drop(why)
        self._courier.control(link, destroy_cell(link_id, reason, effort))

    def _drop(self, why: str) -> None:
        self.counts["dropped_" + why] += 1
