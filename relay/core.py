"""The relay: cells in, cells out. Sans-IO; knows neighbours by link number, never who asks nor what.

A cell is peeled or wrapped and passed on under the next link's id. Anything malformed, unknown, altered or replayed is
dropped and counted; an altered cell also ends its circuit, both ways. Implements `docs/overlay.md` sections 3 and 4;
what the last hop of a circuit does besides is in `proxy.py`.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from network.cell import CellKind, DestroyReason, decode_cell, decode_destroy, destroy_cell, encode_cell
from network.chain_records import DirectoryEntry
from network.commands import CloseLink, Command, OpenLink, SendCell
from network.directory import Directory
from network.errors import CryptoError, DecodeError, LocalProtocolError
from network.events import CellArrived, CellsShed, Event, HandoverArrived, LinkLost
from network.freshness import Rng
from network.geometry import GEOMETRY, KEY, LINK_ID
from network.handshake import ForeignDirectory, OnionKey, RelayHandshake
from network.ids import Role
from network.onion import RelayLayer
from network.replay import ReplaySet
from relay.circuit_table import SWEEP_SECONDS, CircuitTable, RelayedCircuit
from relay.limits import Limits
from relay.proxy import Proxy

DEFAULT_LIMITS = Limits()


class RelayCore:
    """One relay. `directory` answers with the newest verified directory; the relay connects to nobody else.

    `onion_keys` are those that set-ups may be sealed to, newest first.
    """

    __slots__ = (
        "_directory",
        "_limits",
        "_links_to",
        "_next_link",
        "_node_id",
        "_proxy",
        "_replays",
        "_rng",
        "_sweep_at",
        "_unused_since",
        "circuits",
        "counts",
        "onion_keys",
    )

    def __init__(
        self,
        node_id: bytes,
        onion_keys: Sequence[OnionKey],
        directory: Callable[[], Directory],
        rng: Rng,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._node_id = node_id
        self.onion_keys = tuple(onion_keys)
        self._directory = directory
        self._rng = rng
        self._limits = limits
        self._replays = ReplaySet()
        self._links_to: dict[bytes, int] = {}
        self._unused_since: dict[int, float] = {}
        self._next_link = 0
        self._sweep_at: float | None = None
        self.circuits = CircuitTable(limits)
        self.counts: Counter[str] = Counter()
        self._proxy = Proxy(directory, limits, self.counts, self.new_link)

    def use_onion_keys(self, onion_keys: Sequence[OnionKey]) -> None:
        """From now on set-ups are opened with these keys, newest first; circuits that stand are not touched."""
        self.onion_keys = tuple(onion_keys)

    def new_link(self) -> int:
        """A number for a link that was accepted or will be opened."""
        self._next_link += 1
        return self._next_link

    def on_event(self, event: Event, now: float) -> list[Command]:
        """A cell or message arrived, or a link is lost."""
        if isinstance(event, CellArrived):
            return self._on_cell(event, now)
        if isinstance(event, HandoverArrived):
            return self._proxy.on_message(event.link, event.raw, now)
        if isinstance(event, LinkLost):
            return self._on_link_lost(event.link, now)
        if isinstance(event, CellsShed):
            self.counts["circuits_shed"] += 1
            circuit = self.circuits.incoming(event.link, event.link_id)
            circuit = circuit or self.circuits.outgoing(event.link, event.link_id)
            return self._destroy(circuit, DestroyReason.SHED) if circuit else []
        raise LocalProtocolError(f"a relay is not told about {type(event).__name__}")

    def expire(self, now: float) -> list[Command]:
        """End circuits that nobody uses, close links that carry none."""
        if self._sweep_at is None or now < self._sweep_at:
            return []
        commands: list[Command] = []
        for circuit in self.circuits.expired(now):
            self.counts["circuits_expired"] += 1
            commands += self._destroy(circuit, DestroyReason.EXPIRED)
        commands += self._proxy.close_unused(now)
        for node, link in list(self._links_to.items()):
            if self.circuits.uses(link):
                self._unused_since.pop(link, None)
            elif now - self._unused_since.setdefault(link, now) >= self._limits.idle_link_seconds:
                del self._links_to[node], self._unused_since[link]
                commands.append(CloseLink(link))
        busy = len(self.circuits) or self._links_to or self._proxy.busy
        self._sweep_at = now + SWEEP_SECONDS if busy else None
        return commands

    def next_deadline(self) -> float | None:
        """When `expire` has something to do; None on a relay that carries nothing."""
        return self._sweep_at

    def _on_cell(self, event: CellArrived, now: float) -> list[Command]:
        try:
            link_id, kind, body = decode_cell(event.cell)
        except DecodeError:
            return self._drop("malformed")
        if kind is CellKind.PAD:
            return []
        self.counts["cells"] += 1
        if kind is CellKind.CREATE:
            return self._on_create(event.link, link_id, body, now)
        circuit = self.circuits.incoming(event.link, link_id)
        if circuit is not None:
            return self._on_inner_cell(circuit, kind, body, now)
        circuit = self.circuits.outgoing(event.link, link_id)
        if circuit is not None:
            return self._on_outer_cell(circuit, kind, body, now)
        # A cell may cross the DESTROY of its circuit, so this is common and harmless.
        return self._drop("unknown_circuit")

    def _on_create(self, link: int, link_id: bytes, body: bytes, now: float) -> list[Command]:
        if self.circuits.incoming(link, link_id) or self.circuits.outgoing(link, link_id):
            return self._drop("id_in_use")
        if not self.circuits.has_room(link):
            return self._refuse(link, link_id, "full", DestroyReason.BUSY)
        try:
            handshake = self._open(body, now)
        except ForeignDirectory:
            return self._refuse(link, link_id, "foreign_directory", DestroyReason.FOREIGN_DIRECTORY)
        except (CryptoError, DecodeError):
            return self._refuse(link, link_id, "bad_create")
        if not self._replays.admit(body[:KEY], now):
            return self._refuse(link, link_id, "replayed_create")
        circuit = RelayedCircuit(link, link_id, RelayLayer(handshake.keys), born=now, used=now)
        commands = self._extend(circuit, handshake)
        if not commands:
            return self._refuse(link, link_id, "unknown_next_hop")
        self.circuits.add(circuit)
        self.counts["circuits"] += 1
        self._sweep_at = self._sweep_at or now + SWEEP_SECONDS
        return commands

    def _open(self, body: bytes, now: float) -> RelayHandshake:
        """The handshake under whichever of our onion keys it was made for. Raises CryptoError or DecodeError."""
        names = self._directory().names
        for onion_key in self.onion_keys[:-1]:
            try:
                return RelayHandshake(body, self._node_id, onion_key, names, now, self._rng)
            except CryptoError:
                continue
        return RelayHandshake(body, self._node_id, self.onion_keys[-1], names, now, self._rng)

    def _extend(self, circuit: RelayedCircuit, handshake: RelayHandshake) -> list[Command]:
        """Answer at the last hop, else pass the rest of CREATE on; nothing when the next hop is not a live relay."""
        if handshake.next_hop is None:
            body = handshake.created(self._rng(GEOMETRY.cell_body))
            return [SendCell(circuit.link_in, encode_cell(circuit.id_in, CellKind.CREATED, body))]
        node = self._directory().get(handshake.next_hop)
        if node is None or node.role != Role.RELAY or node.node_id == self._node_id:
            return []
        circuit.link_out, commands = self._link_to(node)
        circuit.id_out = self._rng(LINK_ID)
        circuit.handshake = handshake
        return [*commands, SendCell(circuit.link_out, encode_cell(circuit.id_out, CellKind.CREATE, handshake.rest))]

    def _link_to(self, node: DirectoryEntry) -> tuple[int, list[Command]]:
        link = self._links_to.get(node.node_id)
        if link is not None:
            return link, []
        link = self._links_to[node.node_id] = self.new_link()
        return link, [OpenLink(link, node)]

    def _on_inner_cell(self, circuit: RelayedCircuit, kind: CellKind, body: bytes, now: float) -> list[Command]:
        """A cell from the user's side."""
        if kind is CellKind.DESTROY:
            return self._destroy(circuit, tell_inner=False)
        if kind is not CellKind.FORWARD or circuit.handshake is not None:
            return self._drop("out_of_place")
        try:
            peeled = circuit.layer.peel(body)
        except CryptoError:
            return [*self._drop("altered"), *self._destroy(circuit)]
        circuit.used = now
        if circuit.link_out is not None:
            return [SendCell(circuit.link_out, encode_cell(circuit.id_out, CellKind.FORWARD, peeled))]
        try:
            return self._proxy.on_data(circuit, circuit.layer.data(peeled))
        except DecodeError:
            return [*self._drop("bad_data"), *self._destroy(circuit)]

    def _on_outer_cell(self, circuit: RelayedCircuit, kind: CellKind, body: bytes, now: float) -> list[Command]:
        """A cell from the next hop's side."""
        if kind is CellKind.DESTROY:
            told = decode_destroy(body) if circuit.handshake is not None else (DestroyReason.NONE, 0)
            return self._destroy(circuit, *told, tell_outer=False)
        if kind is CellKind.CREATED and circuit.handshake is not None:
            created, circuit.handshake = circuit.handshake.created(body), None
            return [SendCell(circuit.link_in, encode_cell(circuit.id_in, CellKind.CREATED, created))]
        if kind is not CellKind.BACKWARD or circuit.handshake is not None:
            return self._drop("out_of_place")
        circuit.used = now
        return [SendCell(circuit.link_in, encode_cell(circuit.id_in, CellKind.BACKWARD, circuit.layer.wrap(body)))]

    def _on_link_lost(self, link: int, now: float) -> list[Command]:
        self._links_to = {node: held for node, held in self._links_to.items() if held != link}
        self._unused_since.pop(link, None)
        commands: list[Command] = []
        for circuit in self.circuits.on_link(link):
            commands += self._destroy(circuit, tell_inner=circuit.link_in != link, tell_outer=circuit.link_out != link)
        return commands + self._proxy.on_link_lost(link)

    def _destroy(
        self,
        circuit: RelayedCircuit,
        reason: DestroyReason = DestroyReason.NONE,
        effort: int = 0,
        *,
        tell_inner: bool = True,
        tell_outer: bool = True,
    ) -> list[Command]:
        """End a circuit both ways; only the user's side hears why."""
        self.circuits.remove(circuit)
        self.counts["circuits_closed"] += 1
        commands = self._proxy.release(circuit)
        if tell_inner:
            commands.append(SendCell(circuit.link_in, destroy_cell(circuit.id_in, reason, effort)))
        if tell_outer and circuit.link_out is not None:
            commands.append(SendCell(circuit.link_out, destroy_cell(circuit.id_out)))
        return commands

    def _refuse(
        self, link: int, link_id: bytes, why: str, reason: DestroyReason = DestroyReason.REFUSED, effort: int = 0
    ) -> list[Command]:
        self._drop(why)
        return [SendCell(link, destroy_cell(link_id, reason, effort))]

    def _drop(self, why: str) -> list[Command]:
        self.counts["dropped_" + why] += 1
        return []
