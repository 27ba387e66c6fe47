"""The last hop's work: hand each sealed clove to its model node, and bring the replies back under the return token.

A proxy connects only to model nodes that its directory lists. It learns which model node is asked, never by whom nor
what: the clove is sealed, and one of four. Implements `docs/overlay.md` section 6.
"""

from collections import Counter
from collections.abc import Callable

from network.cell import CloseReason, HandOverReader, decode_data, encode_data
from network.cell import Command as DataCommand
from network.commands import OpenCloveLink, SendHandover
from network.directory import Directory
from network.errors import DecodeError
from network.geometry import GEOMETRY
from network.handover import Handover, decode_handover, encode_handover
from network.ids import Role
from network.onion import KeysSpent
from relay.circuit_table import RelayedCircuit
from relay.courier import Courier
from relay.limits import Limits
from relay.outward import OutwardLinks

_CLOSING = {Handover.END: CloseReason.FINISHED, Handover.REFUSED: CloseReason.REFUSED}


class Proxy:
    """Every circuit that ends here, by (clove link, return token)."""

    __slots__ = ("_circuits", "_counts", "_courier", "_directory", "_end", "_held", "_limits", "_outward")

    def __init__(
        self,
        directory: Callable[[], Directory],
        limits: Limits,
        courier: Courier,
        counts: Counter[str],
        new_link: Callable[[], int],
        end: Callable[[RelayedCircuit, str], None],
    ) -> None:
        """`end` counts what is wrong with a circuit and ends it."""
        self._directory = directory
        self._limits = limits
        self._courier = courier
        self._end = end
        self._counts = counts
        self._outward = OutwardLinks(OpenCloveLink, new_link, courier, limits.idle_link_seconds)
        self._circuits: dict[tuple[int, bytes], RelayedCircuit] = {}
        self._held = 0

    @property
    def busy(self) -> bool:
        """Whether any clove link is open."""
        return len(self._outward) > 0

    def on_data(self, circuit: RelayedCircuit, data: bytes, now: float) -> None:
        """The user's data reached the last hop. Raises DecodeError when it is not what may come next."""
        command, payload = decode_data(data)
        opens = command in (DataCommand.HAND_OVER, DataCommand.RESUME)
        if opens and circuit.gathering is None and circuit.handed is None:
            circuit.gathering = HandOverReader(payload, resumes=command is DataCommand.RESUME)
            self._held += circuit.gathering.held
        elif command is DataCommand.MORE and circuit.gathering is not None:
            circuit.gathering.add(payload)
            self._held += len(payload)
        else:
            raise DecodeError(f"{command.name} is out of place")
        if self._held > self._limits.proxy_bytes:
            self._counts["dropped_proxy_full"] += 1
            self._forget_gathering(circuit)
            self._close(circuit, CloseReason.REFUSED, now)
            return
        clove = circuit.gathering.clove()
        if clove is not None:
            self._hand_over(circuit, circuit.gathering, clove, now)

    def on_message(self, link: int, raw: bytes, now: float) -> None:
        """A model node sent a reply clove, or ended a reply."""
        try:
            kind, token, body = decode_handover(raw)
        except DecodeError:
            self._counts["dropped_bad_handover"] += 1
            return
        circuit = self._circuits.get((link, token))
        if circuit is None:
            self._counts["dropped_unknown_token"] += 1
            return
        if kind is Handover.REPLY and len(body) == GEOMETRY.reply_clove:
            circuit.used = now
            if circuit.backward.held >= self._limits.proxy_reply_cells:
                self._end(circuit, "reply_overflow")
            else:
                self._send(circuit, DataCommand.REPLY, body, now)
        elif kind in _CLOSING:
            del self._circuits[link, token]
            circuit.handed = None
            self._close(circuit, _CLOSING[kind], now)
        else:
            self._counts["dropped_bad_handover"] += 1

    def on_link_lost(self, link: int, now: float) -> None:
        """The model node on this clove link is gone: tell every user who waits for it."""
        self._outward.lost(link)
        waiting = [key for key in self._circuits if key[0] == link]
        for key in waiting:
            circuit = self._circuits.pop(key)
            circuit.handed = None
            self._close(circuit, CloseReason.UNREACHABLE, now)

    def release(self, circuit: RelayedCircuit) -> None:
        """The circuit is over: free what it holds and tell the model node that nobody waits."""
        self._forget_gathering(circuit)
        if circuit.handed is None:
            return
        link, token = circuit.handed
        circuit.handed = None
        del self._circuits[link, token]
        self._courier.order(SendHandover(link, encode_handover(Handover.CANCEL, token)))

    def close_unused(self, now: float) -> None:
        """Close clove links that have carried nothing for a while."""
        used = {link for link, _ in self._circuits}
        self._outward.close_unused(used.__contains__, now)

    def _hand_over(self, circuit: RelayedCircuit, request: HandOverReader, clove: bytes, now: float) -> None:
        self._forget_gathering(circuit)
        node = self._directory().get(request.model_node)
        if node is None or node.role != Role.MODEL:
            self._counts["dropped_unknown_model_node"] += 1
            self._close(circuit, CloseReason.UNREACHABLE, now)
            return
        link = self._outward.to(node)
        if (link, request.token) in self._circuits:
            self._counts["dropped_token_in_use"] += 1
            self._close(circuit, CloseReason.REFUSED, now)
            return
        circuit.handed = (link, request.token)
        self._circuits[link, request.token] = circuit
        self._counts["cloves_handed_over"] += 1
        kind = Handover.RESUME if request.resumes else Handover.CLOVE
        self._courier.order(SendHandover(link, encode_handover(kind, request.token, clove)))

    def _forget_gathering(self, circuit: RelayedCircuit) -> None:
        if circuit.gathering is not None:
            self._held -= circuit.gathering.held
            circuit.gathering = None

    def _close(self, circuit: RelayedCircuit, reason: CloseReason, now: float) -> None:
        self._send(circuit, DataCommand.CLOSED, bytes((reason,)), now)

    def _send(self, circuit: RelayedCircuit, command: DataCommand, payload: bytes, now: float) -> None:
        data = encode_data(command, payload, GEOMETRY.backward_body)
        try:
            cell = circuit.layer.originate(data, circuit.prefix_in)
        except KeysSpent:
            self._end(circuit, "keys_spent")
        else:
            self._courier.send(circuit.backward, cell, now)
