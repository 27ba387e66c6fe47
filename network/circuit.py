"""The user's end of one circuit: set it up in one pass, carry data, notice its end. Driven by one table.

Implements `docs/overlay.md` sections 3 and 4. Which relays, and what the data means, are other files' business.
"""

from collections.abc import Sequence
from enum import Enum, auto

from network.cell import (
    CellKind,
    DestroyReason,
    credit_cell,
    decode_cell,
    decode_credit,
    decode_destroy,
    destroy_cell,
    encode_cell,
)
from network.commands import Command, PassData, ReportClosed, ReportOpened, SendCell
from network.errors import CryptoError, DecodeError, LocalProtocolError
from network.events import CellArrived, Event, LinkLost
from network.flow import Flow
from network.freshness import Rng
from network.geometry import LINK_ID
from network.handshake import HopIdentity, UserHandshake
from network.onion import KeysSpent, UserLayers
from network.terms import TERMS, Terms

BUILD_SECONDS = 5.0


class State(Enum):
    """Where a circuit is in its life."""

    NEW = auto()
    BUILDING = auto()
    OPEN = auto()
    CLOSED = auto()


class Input(Enum):
    """What can happen to a circuit."""

    BUILT = auto()
    CONFIRMED = auto()
    REFUSED = auto()
    DATA = auto()
    DAMAGED = auto()
    DESTROYED = auto()
    LINK_LOST = auto()
    TIMED_OUT = auto()
    CLOSED_BY_US = auto()
    SPENT = auto()
    BAD_CREDIT = auto()


TRANSITIONS: dict[tuple[State, Input], State] = {
    (State.NEW, Input.BUILT): State.BUILDING,
    (State.NEW, Input.LINK_LOST): State.CLOSED,
    (State.NEW, Input.CLOSED_BY_US): State.CLOSED,
    (State.BUILDING, Input.CONFIRMED): State.OPEN,
    (State.BUILDING, Input.REFUSED): State.CLOSED,
    (State.BUILDING, Input.DESTROYED): State.CLOSED,
    (State.BUILDING, Input.LINK_LOST): State.CLOSED,
    (State.BUILDING, Input.TIMED_OUT): State.CLOSED,
    (State.BUILDING, Input.CLOSED_BY_US): State.CLOSED,
    (State.OPEN, Input.DATA): State.OPEN,
    (State.OPEN, Input.DAMAGED): State.CLOSED,
    (State.OPEN, Input.DESTROYED): State.CLOSED,
    (State.OPEN, Input.LINK_LOST): State.CLOSED,
    (State.OPEN, Input.CLOSED_BY_US): State.CLOSED,
    (State.OPEN, Input.SPENT): State.CLOSED,
    (State.OPEN, Input.BAD_CREDIT): State.CLOSED,
}

REASONS = {
    Input.REFUSED: "a hop did not confirm its keys",
    Input.DAMAGED: "a cell was altered on its way back",
    Input.DESTROYED: "a relay ended it",
    Input.LINK_LOST: "the link to the first relay broke",
    Input.TIMED_OUT: "it was not ready in time",
    Input.CLOSED_BY_US: "we closed it",
    Input.SPENT: "its keys have carried all that they may",
    Input.BAD_CREDIT: "the first relay gave credit for cells that it was never sent",
}


class Circuit:
    """One circuit on one link. `link_id` names it on that link; the shell routes cells here by it."""

    __slots__ = (
        "_backward",
        "_deadline",
        "_forward",
        "_handshake",
        "_layers",
        "_rng",
        "_terms",
        "dropped",
        "link",
        "link_id",
        "state",
    )

    def __init__(self, hops: Sequence[HopIdentity], directory: bytes, link: int, rng: Rng, terms: Terms = TERMS) -> None:
        """`directory` is the name of the directory that the hops come from."""
        self._handshake: UserHandshake | None = UserHandshake(hops, directory, rng)
        self._layers: UserLayers | None = None
        self._rng = rng
        self._terms = terms
        self._forward = Flow(terms)
        self._backward = Flow(terms)
        self._deadline: float | None = None
        self.link = link
        self.link_id = rng(LINK_ID)
        self.state = State.NEW
        self.dropped = 0

    @property
    def puzzles(self) -> tuple[bytes, ...]:
        """What busy hops would have solved; before `build` only."""
        assert self._handshake is not None
        return self._handshake.puzzles

    def build(self, now: float, solutions: Sequence[bytes] = (), patience: float | None = None) -> list[Command]:
        """Ask for the set-up, and give up after `patience` seconds."""
        self._move(Input.BUILT)
        assert self._handshake is not None
        self._deadline = now + (BUILD_SECONDS if patience is None else patience)
        return [self._cell(CellKind.CREATE, self._handshake.create(now, self._rng, solutions))]

    def send(self, data: bytes) -> list[Command]:
        """The cell that carries `data` to the last hop; without credit it waits. What may wait is the caller's to bound."""
        if self.state is not State.OPEN or self._layers is None:
            raise LocalProtocolError(f"a circuit that is {self.state.name} carries no data")
        try:
            body = self._layers.wrap(data)
        except KeysSpent:
            return [SendCell(self.link, destroy_cell(self.link_id)), *self._end(Input.SPENT)]
        self._forward.hold(encode_cell(self.link_id, CellKind.FORWARD, body), 0.0)
        return self._send_waiting()

    def close(self) -> list[Command]:
        """End it from our side; nothing happens when it is already closed."""
        if self.state is State.CLOSED:
            return []
        was_new = self.state is State.NEW
        closed = self._end(Input.CLOSED_BY_US)
        return closed if was_new else [SendCell(self.link, destroy_cell(self.link_id)), *closed]

    def on_event(self, event: Event, now: float) -> list[Command]:
        """A cell of this circuit arrived, or its link broke."""
        if self.state is State.CLOSED:
            return []
        if isinstance(event, LinkLost):
            return self._end(Input.LINK_LOST)
        if isinstance(event, CellArrived):
            return self._on_cell(event.cell)
        raise LocalProtocolError(f"a circuit is not told about {type(event).__name__}")

    def expire(self, now: float) -> list[Command]:
        """Give up a set-up that takes too long."""
        if self._deadline is None or now < self._deadline:
            return []
        return [SendCell(self.link, destroy_cell(self.link_id)), *self._end(Input.TIMED_OUT)]

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return self._deadline

    def _on_cell(self, raw: bytes) -> list[Command]:
        try:
            link_id, kind, body = decode_cell(raw)
        except DecodeError:
            self.dropped += 1
            return []
        if link_id == self.link_id and kind is CellKind.DESTROY:
            return self._end(Input.DESTROYED, *decode_destroy(body))
        if link_id == self.link_id and kind is CellKind.CREATED and self.state is State.BUILDING:
            return self._on_created(body)
        if link_id == self.link_id and kind is CellKind.BACKWARD and self.state is State.OPEN:
            return self._on_data(body)
        if link_id == self.link_id and kind is CellKind.CREDIT and self.state is State.OPEN:
            return self._on_credit(body)
        self.dropped += 1
        return []

    def _on_created(self, body: bytes) -> list[Command]:
        assert self._handshake is not None
        try:
            keys = self._handshake.finish(body)
        except CryptoError:
            return [SendCell(self.link, destroy_cell(self.link_id)), *self._end(Input.REFUSED)]
        self._move(Input.CONFIRMED)
        self._layers = UserLayers(keys, self._terms)
        self._handshake = self._deadline = None
        return [ReportOpened()]

    def _on_data(self, body: bytes) -> list[Command]:
        assert self._layers is not None
        try:
            data = self._layers.unwrap(body)
        except CryptoError:
            self.dropped += 1
            return [SendCell(self.link, destroy_cell(self.link_id)), *self._end(Input.DAMAGED)]
        self._move(Input.DATA)
        credit = self._backward.pass_on()
        passed: list[Command] = [PassData(data)]
        return [SendCell(self.link, credit_cell(self.link_id, credit)), *passed] if credit else passed

    def _on_credit(self, body: bytes) -> list[Command]:
        try:
            self._forward.grant(decode_credit(body))
        except DecodeError:
            self.dropped += 1
            return [SendCell(self.link, destroy_cell(self.link_id)), *self._end(Input.BAD_CREDIT)]
        return self._send_waiting()

    def _send_waiting(self) -> list[Command]:
        sent: list[Command] = []
        while (cell := self._forward.next_cell()) is not None:
            sent.append(SendCell(self.link, cell))
        return sent

    def _cell(self, kind: CellKind, body: bytes) -> SendCell:
        return SendCell(self.link, encode_cell(self.link_id, kind, body))

    def _move(self, what: Input) -> None:
        following = TRANSITIONS.get((self.state, what))
        if following is None:
            raise LocalProtocolError(f"{what.name} cannot happen to a circuit that is {self.state.name}")
        self.state = following

    def _end(self, why: Input, reason: DestroyReason = DestroyReason.NONE, effort: int = 0) -> list[Command]:
        self._move(why)
        self._handshake = self._layers = self._deadline = None
        return [ReportClosed(REASONS[why], reason, effort)]
