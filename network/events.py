"""What happened, in the past tense: everything the overlay's cores are told.

Links are numbered by the process that holds them; paths are the n circuits of one session, numbered from 0.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CellArrived:
    """A neighbour sent one cell (or what should be one)."""

    link: int
    cell: bytes


@dataclass(frozen=True, slots=True)
class FrameArrived:
    """A neighbour sent one frame: 1 to 16 cells (or what should be)."""

    link: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class LinkReady:
    """What was handed to a link has been written, which `TellWhenWritten` asked for."""

    link: int


@dataclass(frozen=True, slots=True)
class HandoverArrived:
    """The other end of a clove link sent one message."""

    link: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class LinkLost:
    """A link broke, or could not be opened."""

    link: int


@dataclass(frozen=True, slots=True)
class CellsShed:
    """A link's queue is full and this circuit's cells were thrown away: it cannot go on."""

    link: int
    link_id: bytes


@dataclass(frozen=True, slots=True)
class PathData:
    """The proxy of one path sent data to the user."""

    path: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PathLost:
    """One path of a session is gone."""

    path: int


@dataclass(frozen=True, slots=True)
class PathReplaced:
    """A fresh circuit stands in the place of a path that was lost."""

    path: int


@dataclass(frozen=True, slots=True)
class PathNotReplaced:
    """No fresh circuit could be had for a path that was lost."""

    path: int


Event = (
    CellArrived
    | FrameArrived
    | LinkReady
    | HandoverArrived
    | LinkLost
    | CellsShed
    | PathData
    | PathLost
    | PathReplaced
    | PathNotReplaced
)
