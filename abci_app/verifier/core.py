"""The verifier as a core: what it has seen of the chain and of its challenges goes in, what to do comes out.

It knows windows, its plan and its memory; it refuses to know sockets, clocks and the model. Steps and windows:
`abci_app/verifier/agenda.py`; section 7 of `docs/verification.md`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from abci_app.verifier.agenda import Plan, Step, owned_challenges, plan, sheet_salt, window
from abci_app.verifier.commands import Ask, Command, ReadEpoch, ReadTranscripts, Remember, ScoreThem, Submit
from abci_app.verifier.events import (
    Answered,
    Asked,
    EpochRead,
    Event,
    HeightSeen,
    ScoresMade,
    Submitted,
    TranscriptsRead,
    Unsubmitted,
)
from abci_app.verifier.memory import Memory
from network.chain_records import EpochRecord, Params, TranscriptRecord
from network.chain_tx import (
    CommitScores,
    PublishTranscripts,
    RevealScores,
    Score,
    ScoreSheet,
    Transcript,
    TxKind,
    challenge_hash,
    sheet_hash,
)
from network.codec import Message
from network.crypto import SigningKey

TX_KINDS = {
    Step.PROVE: TxKind.PROVE_VRF,
    Step.COMMIT: TxKind.COMMIT_CHALLENGES,
    Step.OPEN: TxKind.OPEN_CHALLENGES,
    Step.PUBLISH: TxKind.PUBLISH_TRANSCRIPTS,
    Step.SCORE: TxKind.COMMIT_SCORES,
    Step.REVEAL: TxKind.REVEAL_SCORES,
}
LAST_BLOCKS = 4  # publish what is there when the window has no more than this left
REPLY_BLOCKS = 3  # ask nothing in the last blocks of the send window: replies take a while


@dataclass(slots=True)
class _Epoch:
    """The epoch that the core works on."""

    record: EpochRecord
    params: Params
    plan: Plan
    validator: bytes
    busy: list[Step] = field(default_factory=list)
    refused: list[Step] = field(default_factory=list)
    scheduled: list[bytes] = field(default_factory=list)

    def ended(self, height: int) -> bool:
        return height >= self.record.first_height + self.params.epoch_blocks


class VerifierCore:
    """One verifier. `rng` spreads its challenges over the send window."""

    def __init__(
        self,
        key: SigningKey,
        group: str,
        rng: Callable[[int], bytes],
        *,
        memory: Memory | None = None,
    ) -> None:
        self._key = key
        self._group = group
        self._rng = rng
        self._memory = memory or Memory()
        self._block_seconds = 1.0
        self._height = 0
        self._epoch: _Epoch | None = None
        self._reading = False

    @property
    def number(self) -> int | None:
        """The epoch that commands are about; None before the first."""
        return None if self._epoch is None else self._epoch.record.number

    def on_event(self, event: Event, epoch: int | None = None) -> list[Command]:
        """What follows from what happened. `epoch` is the one that the answered command was about: an old one is ignored."""
        if epoch is not None and epoch != self.number:
            return []
        match event:
            case HeightSeen(height, block_seconds):
                self._height = max(self._height, height)
                self._block_seconds = block_seconds
                return self._due()
            case EpochRead():
                return self._on_epoch(event)
            case Submitted(step, accepted):
                return self._on_submitted(step, accepted)
            case Unsubmitted(step):
                self._free(step)
                return []
            case Asked(name):
                self._memory.asked.append(name)
                return [Remember(self._memory)]
            case Answered(transcript):
                return self._on_answer(transcript)
            case TranscriptsRead(step, records):
                return self._on_transcripts(step, records)
            case ScoresMade(step, scores):
                return self._on_scores(step, scores)

    def failed_to_read(self) -> None:
        """The epoch could not be read; ask again at the next height."""
        self._reading = False

    def next_height(self) -> int:
        """The next height at which something may fall due."""
        epoch = self._epoch
        if epoch is None:
            return self._height + 1
        offset = self._height - epoch.record.first_height
        ahead = [epoch.params.epoch_blocks]
        for step in Step:
            first, end = window(step, epoch.params)
            if offset < first:
                ahead.append(first)
            elif offset < end and step is not Step.SEND and step not in self._memory.done and step not in epoch.refused:
                ahead.append(offset + 1)
        return epoch.record.first_height + min(ahead)

    def _on_epoch(self, event: EpochRead) -> list[Command]:
        self._reading = False
        held = self._epoch
        if not event.epoch.beacon or (held is not None and held.record.number >= event.epoch.number):
            return []
        if (self._memory.epoch, self._memory.beacon) != (event.epoch.number, event.epoch.beacon):
            late = self._height - event.epoch.first_height >= window(Step.COMMIT, event.params)[1]
            idle = late or not event.validator
            owned = () if idle else owned_challenges(self._key, event.epoch, event.params, self._group, event.nodes)
            self._memory = Memory(event.epoch.number, event.epoch.beacon, challenges=owned)
        made = plan(self._key, event.epoch, event.params, self._memory.challenges)
        refused = [] if event.validator else list(Step)  # who is no member has nothing to do until the next epoch
        self._epoch = _Epoch(event.epoch, event.params, made, event.validator, refused=refused)
        return [Remember(self._memory), *self._due()]

    def _due(self) -> list[Command]:
        """Every step whose window is open, whose condition holds, and which is neither done nor under way."""
        epoch = self._epoch
        if epoch is None or epoch.ended(self._height):
            if self._reading:
                return []
            self._reading = True
            return [ReadEpoch()]
        commands: list[Command] = []
        offset = self._height - epoch.record.first_height
        for step in Step:
            first, end = window(step, epoch.params)
            idle = step not in self._memory.done and step not in epoch.busy and step not in epoch.refused
            if idle and first <= offset < end:
                commands += self._begin(step, epoch, end - offset)
        return commands

    def _begin(self, step: Step, epoch: _Epoch, blocks_left: int) -> list[Command]:
        done, number = self._memory.done, epoch.record.number
        if step is Step.PROVE:
            return self._submit(step, epoch.plan.prove(number))
        if step is Step.COMMIT:
            return self._submit(step, epoch.plan.commit(number))
        if step is Step.SEND and Step.COMMIT in done:
            return self._asks(epoch, blocks_left)
        if step is Step.OPEN and self._memory.asked:
            return self._submit(step, epoch.plan.open(number, self._memory.asked))
        if step is Step.PUBLISH and Step.OPEN in done and self._replies_in(blocks_left):
            return self._submit(step, PublishTranscripts(number, tuple(self._memory.replies)))
        if step is Step.SCORE and self._memory.sheet is not None:
            epoch.busy.append(step)
            return [self._commit_scores(self._memory.sheet)]
        if step in (Step.PRESCORE, Step.SCORE) and Step.PRESCORE not in epoch.busy:
            epoch.busy.append(step)
            return [ReadTranscripts(step, number)]
        if step is Step.REVEAL and self._memory.sheet is not None and Step.SCORE in done:
            return self._submit(step, RevealScores(self._memory.sheet))
        return []

    def _replies_in(self, blocks_left: int) -> bool:
        """All replies are there, or some are and the window is about to close."""
        replies = len(self._memory.replies)
        return replies == len(self._memory.asked) or (replies > 0 and blocks_left <= LAST_BLOCKS)

    def _submit(self, step: Step, body: Message) -> list[Command]:
        assert self._epoch is not None
        self._epoch.busy.append(step)
        return [Submit(step, TX_KINDS[step], body)]

    def _asks(self, epoch: _Epoch, blocks_left: int) -> list[Command]:
        """The challenges not sent yet, each at its own uniformly random time in what is left of the window."""
        commands: list[Command] = []
        seconds = max(0.0, (blocks_left - REPLY_BLOCKS) * self._block_seconds)
        for challenge in epoch.plan.challenges:
            name = challenge_hash(challenge)
            if name not in self._memory.asked and name not in epoch.scheduled:
                epoch.scheduled.append(name)
                commands.append(Ask(challenge, seconds * int.from_bytes(self._rng(4), "big") / 2**32))
        return commands

    def _on_submitted(self, step: Step, accepted: bool) -> list[Command]:
        self._free(step)
        if not accepted:
            if self._epoch is not None:
                self._epoch.refused.append(step)
            return []
        self._memory.done.append(step)
        return [Remember(self._memory), *self._due()]

    def _on_answer(self, transcript: Transcript) -> list[Command]:
        """Keep what belongs to a challenge of this epoch; a reply after publication is too late."""
        known = transcript.challenge_hash in self._memory.asked
        if not known or any(held.challenge_hash == transcript.challenge_hash for held in self._memory.replies):
            return []
        self._memory.replies.append(transcript)
        return [Remember(self._memory), *self._due()]

    def _on_transcripts(self, step: Step, records: Sequence[TranscriptRecord]) -> list[Command]:
        assert self._epoch is not None
        answered = tuple(
            record for record in records if record.transcript is not None and record.transcript.statement is not None
        )
        if answered:
            return [ScoreThem(step, answered, self._epoch.params.profile)]
        return self._on_submitted(step, accepted=True)

    def _on_scores(self, step: Step, scores: Sequence[Score]) -> list[Command]:
        """Commit to the final scores; none means abstaining from the whole epoch."""
        epoch = self._epoch
        assert epoch is not None
        if step is Step.PRESCORE or not scores:
            return self._on_submitted(step, accepted=True)
        salt = sheet_salt(self._key, epoch.record)
        sheet = ScoreSheet(epoch.record.number, epoch.validator, tuple(scores), salt)
        self._memory.sheet = sheet
        return [Remember(self._memory), self._commit_scores(sheet)]

    def _commit_scores(self, sheet: ScoreSheet) -> Submit:
        return Submit(Step.SCORE, TX_KINDS[Step.SCORE], CommitScores(sheet.epoch, sheet_hash(sheet)))

    def _free(self, step: Step) -> None:
        if self._epoch is not None and step in self._epoch.busy:
            self._epoch.busy.remove(step)
