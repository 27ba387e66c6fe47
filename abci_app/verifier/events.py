"""What happened to a verifier: what its core is told. Every event but HeightSeen answers a command."""

from dataclasses import dataclass

from abci_app.verifier.agenda import Step
from network.chain_records import DirectoryEntry, EpochRecord, Params, TranscriptRecord
from network.chain_tx import Score, Transcript


@dataclass(frozen=True, slots=True)
class HeightSeen:
    """The chain has reached this height, and makes a block about every `block_seconds`."""

    height: int
    block_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class EpochRead:
    """The running epoch, the parameters, the live model nodes of the group, and our own committee id, as proven.

    `validator` is empty while this verifier is no member's: before it is voted in, after it left or was jailed.
    """

    epoch: EpochRecord
    params: Params
    nodes: tuple[DirectoryEntry, ...]
    validator: bytes


@dataclass(frozen=True, slots=True)
class Submitted:
    """A step's transaction is in a block, or was refused for good (`accepted` False)."""

    step: Step
    accepted: bool


@dataclass(frozen=True, slots=True)
class Unsubmitted:
    """A step could not be carried out now (the chain did not answer): try again while its window is open."""

    step: Step


@dataclass(frozen=True, slots=True)
class Asked:
    """A challenge is on its way."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """A challenge's outcome: a verified reply, or an empty transcript when the model node gave none."""

    transcript: Transcript


@dataclass(frozen=True, slots=True)
class TranscriptsRead:
    """Every published transcript of the epoch."""

    step: Step
    records: tuple[TranscriptRecord, ...]


@dataclass(frozen=True, slots=True)
class ScoresMade:
    """This verifier's scores; none when it cannot verify."""

    step: Step
    scores: tuple[Score, ...]


Event = HeightSeen | EpochRead | Submitted | Unsubmitted | Asked | Answered | TranscriptsRead | ScoresMade
