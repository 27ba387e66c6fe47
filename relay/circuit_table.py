"""What a relay knows of a circuit: two links, two link ids, its layer, and when it was last used. Nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass

from network.cell import HandOverReader
from network.handshake import RelayHandshake
from network.onion import RelayLayer
from relay.limits import Limits

SWEEP_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class RelayedCircuit:
    """One circuit through this relay. `link_out` is None at the last hop; `handshake` is set until CREATED came back."""

    link_in: int
    id_in: bytes
    layer: RelayLayer
    born: float
    used: float
    link_out: int | None = None
    id_out: bytes = b""
    handshake: RelayHandshake | None = None
    gathering: HandOverReader | None = None
    handed: tuple[int, bytes] | None = None


class CircuitTable:
    """Circuits by the link id of either side."""

    __slots__ = ("_by_in", "_by_out", "_limits", "_per_link")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_in: dict[tuple[int, bytes], RelayedCircuit] = {}
        self._by_out: dict[tuple[int, bytes], RelayedCircuit] = {}
        self._per_link: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._by_in)

    def __iter__(self) -> Iterator[RelayedCircuit]:
        return iter(tuple(self._by_in.values()))

    def has_room(self, link: int) -> bool:
        """Whether one more circuit may come in over this link."""
        return len(self._by_in) < self._limits.circuits and self._per_link.get(link, 0) < self._limits.circuits_per_link

    def add(self, circuit: RelayedCircuit) -> None:
        """Enter a circuit; its ids must be free."""
        assert (circuit.link_in, circuit.id_in) not in self._by_in
        self._by_in[circuit.link_in, circuit.id_in] = circuit
        self._count(circuit.link_in, 1)
        if circuit.link_out is not None:
            self._by_out[circuit.link_out, circuit.id_out] = circuit
            self._count(circuit.link_out, 1)

    def remove(self, circuit: RelayedCircuit) -> None:
        """Forget a circuit and its keys."""
        if self._by_in.pop((circuit.link_in, circuit.id_in), None) is None:
            return
        self._count(circuit.link_in, -1)
        if circuit.link_out is not None:
            del self._by_out[circuit.link_out, circuit.id_out]
            self._count(circuit.link_out, -1)

    def incoming(self, link: int, link_id: bytes) -> RelayedCircuit | None:
        """The circuit whose user is on this side."""
        return self._by_in.get((link, link_id))

    def outgoing(self, link: int, link_id: bytes) -> RelayedCircuit | None:
        """The circuit whose next hop is on this side."""
        return self._by_out.get((link, link_id))

    def on_link(self, link: int) -> list[RelayedCircuit]:
        """Every circuit that uses this link, either way."""
        if link not in self._per_link:
            return []
        return [circuit for circuit in self._by_in.values() if link in (circuit.link_in, circuit.link_out)]

    def uses(self, link: int) -> bool:
        """Whether any circuit uses this link."""
        return link in self._per_link

    def expired(self, now: float) -> list[RelayedCircuit]:
        """Circuits idle, or alive, for too long."""
        idle, life = self._limits.idle_seconds, self._limits.life_seconds
        return [c for c in self._by_in.values() if now - c.used >= idle or now - c.born >= life]

    def _count(self, link: int, change: int) -> None:
        count = self._per_link.get(link, 0) + change
        if count:
            self._per_link[link] = count
        else:
            self._per_link.pop(link, None)
