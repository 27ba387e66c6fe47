"""What a relay knows of a circuit: two links, two link ids, its layer, its flows, and when it was last used. Nothing else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from network.cell import HandOverReader
from network.handshake import RelayHandshake
from network.onion import RelayLayer
from relay.courier import RelayFlow
from relay.limits import Limits

SWEEP_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class RelayedCircuit:
    """One circuit through this relay. `link_out` is None at the last hop; `handshake` is set until CREATED came back.

    The prefixes are what its cells begin with on either side: link id and kind.
    """

    link_in: int
    id_in: bytes
    layer: RelayLayer
    forward: RelayFlow
    backward: RelayFlow
    prefix_in: bytes
    born: float
    used: float
    link_out: int | None = None
    id_out: bytes = b""
    prefix_out: bytes = b""
    handshake: RelayHandshake | None = None
    gathering: HandOverReader | None = None
    handed: tuple[int, bytes] | None = None


_NONE: Mapping[bytes, RelayedCircuit] = {}


class CircuitTable:
    """Circuits by the link id of either side. A link carries circuits one way only: away from whoever opened it."""

    __slots__ = ("_count", "_inner", "_limits", "_outer")

    def __init__(self, limits: Limits) -> None:
        self._inner: dict[int, dict[bytes, RelayedCircuit]] = {}
        self._outer: dict[int, dict[bytes, RelayedCircuit]] = {}
        self._limits = limits
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[RelayedCircuit]:
        return iter([circuit for circuits in self._inner.values() for circuit in circuits.values()])

    def has_room(self, link: int) -> bool:
        """Whether one more circuit may come in over this link."""
        return self._count < self._limits.circuits and len(self.inner(link)) < self._limits.circuits_per_link

    def add(self, circuit: RelayedCircuit) -> None:
        """Enter a circuit; its ids must be free."""
        inner = self._inner.setdefault(circuit.link_in, {})
        assert circuit.id_in not in inner
        inner[circuit.id_in] = circuit
        self._count += 1
        if circuit.link_out is not None:
            self._outer.setdefault(circuit.link_out, {})[circuit.id_out] = circuit

    def remove(self, circuit: RelayedCircuit) -> bool:
        """Forget a circuit and its keys. False when it was forgotten before."""
        inner = self._inner.get(circuit.link_in, {})
        if inner.pop(circuit.id_in, None) is None:
            return False
        self._count -= 1
        if not inner:
            del self._inner[circuit.link_in]
        if circuit.link_out is not None:
            outer = self._outer[circuit.link_out]
            del outer[circuit.id_out]
            if not outer:
                del self._outer[circuit.link_out]
        return True

    def inner(self, link: int) -> Mapping[bytes, RelayedCircuit]:
        """The circuits whose user is on this side, by their id there."""
        return self._inner.get(link, _NONE)

    def outer(self, link: int) -> Mapping[bytes, RelayedCircuit]:
        """The circuits whose next hop is on this side, by their id there."""
        return self._outer.get(link, _NONE)

    def on_link(self, link: int) -> list[RelayedCircuit]:
        """Every circuit that uses this link, either way."""
        return [*self.inner(link).values(), *self.outer(link).values()]

    def uses(self, link: int) -> bool:
        """Whether any circuit uses this link."""
        return link in self._inner or link in self._outer

    def expired(self, now: float) -> list[RelayedCircuit]:
        """Circuits idle, alive, or being set up, for too long."""
        idle, life, build = self._limits.idle_seconds, self._limits.life_seconds, self._limits.build_seconds
        return [
            circuit
            for circuit in self
            if now - circuit.used >= idle
            or now - circuit.born >= life
            or (circuit.handshake is not None and now - circuit.born >= build)
        ]
