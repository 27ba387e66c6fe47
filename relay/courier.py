"""What leaves a relay: cells by link, as far as credit and the link itself allow; all that waits is counted and bounded.

A link is given a few frames' worth of cells at a time and says when they are written, so what waits, waits here, in its
circuit's flow, and whoever has waited longest can be found. Links take turns among their circuits.
Implements `docs/overlay.md` section 4, reasons in `docs/adr/0102-credit-windows.md`.
"""

from collections.abc import Iterator

from network.cell import credit_cell
from network.commands import Command, SendCells, TellWhenWritten
from network.flow import Flow
from network.geometry import GEOMETRY
from network.terms import Terms
from relay.limits import Limits

End = tuple[int, bytes]  # a link, and the id of a circuit on it


class Outlet:
    """One link as the courier sees it: what it was handed since it last said that all is written, and who waits for it."""

    __slots__ = ("cells", "handed", "link", "stalled", "writing")

    def __init__(self, link: int) -> None:
        self.link = link
        self.cells: list[bytes] = []
        self.handed = 0
        self.writing = False
        self.stalled: dict[RelayFlow, None] = {}


class RelayFlow(Flow):
    """A flow that leaves by `outlet` (None where it is used up); `source` is who gets the credit, as link and link id.

    `circuit` names the circuit it belongs to: the link and link id on the user's side.
    """

    __slots__ = ("circuit", "outlet", "source")

    def __init__(self, terms: Terms, circuit: End, outlet: Outlet | None, source: End | None) -> None:
        super().__init__(terms)
        self.circuit = circuit
        self.outlet = outlet
        self.source = source


class Courier:
    """Gathers what one event made the relay send."""

    __slots__ = ("_commands", "_limits", "_outlets", "_touched", "_waiting", "waiting_cells")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._commands: list[Command] = []
        self._touched: list[Outlet] = []
        self._outlets: dict[int, Outlet] = {}
        self._waiting: dict[RelayFlow, None] = {}
        self.waiting_cells = 0

    def outlet(self, link: int) -> Outlet:
        """The outlet of a link."""
        held = self._outlets.get(link)
        if held is None:
            held = self._outlets[link] = Outlet(link)
        return held

    def order(self, command: Command) -> None:
        """Anything but a cell; it is carried out before the cells of the same event."""
        self._commands.append(command)

    def control(self, link: int, cell: bytes) -> None:
        """A cell that needs no credit: CREATE, CREATED, CREDIT, DESTROY."""
        self._put(self.outlet(link), cell)

    def send(self, flow: RelayFlow, cell: bytes, now: float) -> None:
        """Pass a cell on now or when there is leave; whether there is room for it to wait is asked before (`is_full`)."""
        outlet = flow.outlet
        assert outlet is not None
        if flow.credit and not flow.waiting and not outlet.writing:
            flow.credit -= 1
            if not outlet.cells:
                self._touched.append(outlet)
            outlet.cells.append(cell)
            if credit := flow.pass_on():
                self._acknowledge(flow, credit)
            return
        flow.hold(cell, now)
        self._waiting[flow] = None
        self.waiting_cells += 1
        if outlet.writing:
            outlet.stalled[flow] = None

    def passed_on(self, flow: RelayFlow) -> None:
        """One cell of this flow left, or was used up."""
        if credit := flow.pass_on():
            self._acknowledge(flow, credit)

    def drain(self, flow: RelayFlow) -> None:
        """There is credit again."""
        outlet = flow.outlet
        if outlet is None:
            return
        if outlet.writing:
            if flow.waiting:
                outlet.stalled[flow] = None
            return
        while self._send_waiting(flow, outlet):
            pass

    def link_ready(self, link: int) -> None:
        """The link has written what it was handed: its circuits take turns until it has enough again."""
        outlet = self._outlets.get(link)
        if outlet is None or not outlet.writing:
            return
        outlet.handed, outlet.writing = 0, False
        stalled = outlet.stalled
        while stalled and len(outlet.cells) < self._limits.link_room:
            flow = next(iter(stalled))
            del stalled[flow]
            if self._send_waiting(flow, outlet) and flow.waiting and flow.credit:
                stalled[flow] = None

    def link_lost(self, link: int) -> None:
        """Nothing leaves by this link any more."""
        self._outlets.pop(link, None)

    def forget(self, flow: RelayFlow) -> None:
        """The flow's circuit is over."""
        self.waiting_cells -= flow.held
        flow.waiting = None
        self._waiting.pop(flow, None)
        if flow.outlet is not None:
            flow.outlet.stalled.pop(flow, None)

    def to_shed(self) -> Iterator[End]:
        """The circuits to end, by who has waited longest, until little enough waits; the caller ends each as it comes."""
        most = self._limits.queued_bytes // GEOMETRY.cell
        if self.waiting_cells * 100 <= most * self._limits.shed_above_percent:
            return
        for flow in sorted(self._waiting, key=_waiting_since):
            if self.waiting_cells * 100 <= most * self._limits.shed_to_percent:
                return
            if flow.waiting:
                yield flow.circuit

    def take(self) -> list[Command]:
        """Everything gathered, links opened first."""
        commands, self._commands = self._commands, []
        for outlet in self._touched:
            commands.append(SendCells(outlet.link, outlet.cells))
            outlet.handed += len(outlet.cells)
            outlet.cells = []
            if outlet.handed >= self._limits.link_room and not outlet.writing:
                outlet.writing = True
                commands.append(TellWhenWritten(outlet.link))
        self._touched.clear()
        return commands

    def _send_waiting(self, flow: RelayFlow, outlet: Outlet) -> bool:
        cell = flow.next_cell()
        if cell is None:
            return False
        self.waiting_cells -= 1
        if not flow.waiting:
            del self._waiting[flow]
        self._put(outlet, cell)
        self.passed_on(flow)
        return True

    def _acknowledge(self, flow: RelayFlow, credit: int) -> None:
        if flow.source is not None:
            link, link_id = flow.source
            self.control(link, credit_cell(link_id, credit))

    def _put(self, outlet: Outlet, cell: bytes) -> None:
        if not outlet.cells:
            self._touched.append(outlet)
        outlet.cells.append(cell)


def _waiting_since(flow: RelayFlow) -> float:
    return flow.waiting[0][0] if flow.waiting else float("inf")
