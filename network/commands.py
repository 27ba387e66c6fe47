"""What to do, in the imperative: everything the overlay's cores ask their shells for."""

from collections.abc import Sequence
from dataclasses import dataclass

from network.cell import DestroyReason
from network.chain_records import DirectoryEntry
from network.errors import PlanetServeError
from network.inference import ReplyFrame


@dataclass(frozen=True, slots=True)
class OpenLink:
    """Connect to a relay's cell endpoint; cells sent meanwhile wait."""

    link: int
    node: DirectoryEntry


@dataclass(frozen=True, slots=True)
class OpenCloveLink:
    """Connect to a model node's clove endpoint; messages sent meanwhile wait."""

    link: int
    node: DirectoryEntry


@dataclass(frozen=True, slots=True)
class CloseLink:
    """Close a link that nothing uses any more."""

    link: int


@dataclass(frozen=True, slots=True)
class SendCell:
    """Put one cell on a link."""

    link: int
    cell: bytes


@dataclass(frozen=True, slots=True)
class SendCells:
    """Put several cells on a link, in this order."""

    link: int
    cells: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class TellWhenWritten:
    """Say LinkReady once the cells that a link was given have been written, all but a few."""

    link: int


@dataclass(frozen=True, slots=True)
class SendHandover:
    """Put one message on a clove link."""

    link: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class ReportOpened:
    """A circuit is ready."""


@dataclass(frozen=True, slots=True)
class ReportClosed:
    """A circuit is over, and why; a relay's own word for it, and the effort that a busy one asks for."""

    reason: str
    told: DestroyReason = DestroyReason.NONE
    effort: int = 0


@dataclass(frozen=True, slots=True)
class PassData:
    """Hand the data of one backward cell to the session that uses the circuit."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SendData:
    """Send the data of one forward cell down a path."""

    path: int
    data: bytes


@dataclass(frozen=True, slots=True)
class DeliverFrame:
    """Hand the next frame of the reply to the caller."""

    frame: ReplyFrame


@dataclass(frozen=True, slots=True)
class BlamePath:
    """A path misbehaved: choose other relays for a while."""

    path: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReplacePath:
    """Build a fresh circuit in the place of a path's lost one; PathReplaced or PathNotReplaced answers."""

    path: int


@dataclass(frozen=True, slots=True)
class EndSession:
    """Nothing more will come, so the circuits may end: the reply was complete (no error), or cannot become so."""

    error: PlanetServeError | None


@dataclass(frozen=True, slots=True)
class StartReply:
    """A request is complete: answer it."""

    session: int
    request: bytes


@dataclass(frozen=True, slots=True)
class CancelReply:
    """The user has gone, or too few return paths are left: stop answering."""

    session: int


Command = (
    OpenLink
    | OpenCloveLink
    | CloseLink
    | SendCell
    | SendCells
    | TellWhenWritten
    | SendHandover
    | ReportOpened
    | ReportClosed
    | PassData
    | SendData
    | DeliverFrame
    | BlamePath
    | ReplacePath
    | EndSession
    | StartReply
    | CancelReply
)
