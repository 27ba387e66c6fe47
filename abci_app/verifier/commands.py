"""What a verifier's core wants done; the shell does it and answers with an event of `events.py`."""

from dataclasses import dataclass

from abci_app.verifier.agenda import Step
from abci_app.verifier.memory import Memory
from network.chain_records import TranscriptRecord
from network.chain_tx import Challenge, TxKind
from network.codec import Message


@dataclass(frozen=True, slots=True)
class ReadEpoch:
    """Read epoch, parameters and nodes; answer with EpochRead."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Send this transaction; answer with Submitted or Unsubmitted."""

    step: Step
    kind: TxKind
    body: Message


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this challenge after `delay` seconds; answer with Asked, then Answered."""

    challenge: Challenge
    delay: float


@dataclass(frozen=True, slots=True)
class ReadTranscripts:
    """Read the epoch's transcripts; answer with TranscriptsRead or Unsubmitted."""

    step: Step
    epoch: int


@dataclass(frozen=True, slots=True)
class ScoreThem:
    """Score these transcripts, those scored before excepted; answer with ScoresMade."""

    step: Step
    records: tuple[TranscriptRecord, ...]
    profile: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Save the memory."""

    memory: Memory


Command = ReadEpoch | Submit | Ask | ReadTranscripts | ScoreThem | Remember
