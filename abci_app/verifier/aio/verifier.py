"""The verifier's shell: follows the chain, does what the core commands, and reports what came of it."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from abci_app.state.errors import DUPLICATE, STALE_NONCE
from abci_app.verifier.aio.challenger import Challenger
from abci_app.verifier.aio.scorer import Scorer
from abci_app.verifier.commands import Ask, Command, ReadEpoch, ReadTranscripts, Remember, ScoreThem, Submit
from abci_app.verifier.core import VerifierCore
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
from network.aio import files
from network.aio.chain_client import ChainClient, ChainUnavailable, ProofRejected
from network.chain_records import (
    CURRENT_EPOCH_KEY,
    PARAMS_KEY,
    EpochRecord,
    ModelGroup,
    OpenedChallenges,
    Params,
    TranscriptRecord,
    ValidatorRecord,
    group_key,
    opened_key,
    transcript_key,
    validator_key,
)
from network.chain_tx import challenge_hash
from network.crypto import SigningKey

log = logging.getLogger(__name__)

MIN_PAUSE_S, MAX_PAUSE_S = 0.8, 12.0
EARLY = 0.85  # of the expected time to the next height: better one look too many than one block too late


class Pace:
    """The time between blocks, as seen."""

    def __init__(self) -> None:
        self._seen: tuple[int, float] | None = None
        self.block_seconds = 1.0

    def on_height(self, height: int, now: float) -> None:
        """Learn from another height."""
        if self._seen is not None and height > self._seen[0]:
            measured = (now - self._seen[1]) / (height - self._seen[0])
            self.block_seconds = min(60.0, max(0.05, 0.7 * self.block_seconds + 0.3 * measured))
        if self._seen is None or height > self._seen[0]:
            self._seen = (height, now)

    def pause(self, blocks: int) -> float:
        """How long to sleep until `blocks` more blocks may be there."""
        return min(MAX_PAUSE_S, max(MIN_PAUSE_S, EARLY * blocks * self.block_seconds))


class Verifier:
    """One verification node's sidecar. Cancel `run` to stop it."""

    def __init__(
        self,
        core: VerifierCore,
        client: ChainClient,
        challenger: Challenger,
        scorer: Scorer,
        *,
        key: SigningKey,
        group: str,
        memory_file: Path,
    ) -> None:
        self._core = core
        self._client = client
        self._challenger = challenger
        self._scorer = scorer
        self._key = key
        self._group = group
        self._committee: tuple[bytes, ...] = ()
        self._memory_file = memory_file
        self._tasks: dict[asyncio.Task[None], int | None] = {}
        self._failures = 0

    async def run(self) -> None:
        """Follow the chain until cancelled."""
        pace = Pace()
        try:
            while True:
                height = await self._height()
                if height is not None:
                    pace.on_height(height, time.monotonic())
                    self._tell(HeightSeen(height, pace.block_seconds), None)
                await asyncio.sleep(pace.pause(1 if height is None else self._core.next_height() - height))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _height(self) -> int | None:
        try:
            height = await self._client.height()
        except ChainUnavailable as error:
            self._failures += 1
            if self._failures == 1:
                log.warning("the chain does not answer", extra={"fields": {"reason": error}})
            return None
        self._failures = 0
        return height

    def _tell(self, event: Event, epoch: int | None) -> None:
        """Pass an event to the core and start what it commands."""
        before = self._core.number
        commands = self._core.on_event(event, epoch)
        if self._core.number != before:
            self._drop_old_tasks()
        for command in commands:
            self._start(command)

    def _drop_old_tasks(self) -> None:
        for task, epoch in self._tasks.items():
            if epoch != self._core.number and task is not asyncio.current_task():
                task.cancel()

    def _start(self, command: Command) -> None:
        if isinstance(command, Remember):
            save(self._memory_file, command.memory)
            return
        actions: Mapping[type[Command], Callable[[Any], Coroutine[Any, Any, None]]] = {
            ReadEpoch: self._read_epoch,
            Submit: self._submit,
            Ask: self._ask,
            ReadTranscripts: self._read_transcripts,
            ScoreThem: self._score,
        }
        task = asyncio.create_task(actions[type(command)](command))
        self._tasks[task] = None if isinstance(command, ReadEpoch) else self._core.number
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        """Forget a task; a bug in one ends the process, and the supervisor starts another."""
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a step of the verifier broke", exc_info=error)
            asyncio.get_running_loop().call_soon(os._exit, 1)

    async def _read_epoch(self, _: ReadEpoch) -> None:
        try:
            epoch, _height = await self._client.load(EpochRecord, CURRENT_EPOCH_KEY)
            if epoch is None or not epoch.beacon or epoch.number == self._core.number:
                self._core.failed_to_read()
                return
            params, _height = await self._client.load(Params, PARAMS_KEY)
            directory = await self._client.directory()
            validator = await self._read_committee()
        except (ChainUnavailable, ProofRejected) as error:
            log.info("the epoch cannot be read yet", extra={"fields": {"reason": error}})
            self._core.failed_to_read()
            return
        assert params is not None
        log.info("epoch begins", extra={"fields": {"epoch": epoch.number, "first_height": epoch.first_height}})
        if not validator:
            log.warning("this key is no committee member's verifier: the epoch goes without it")
        self._tell(EpochRead(epoch, params, directory.models(self._group, trusted_only=False), validator), None)

    async def _read_committee(self) -> bytes:
        """Learn who is in the committee; our own id in it, empty when our key is no member's."""
        own = b""
        members = tuple(member.address for member in await self._client.committee())
        for validator in members:
            record, _ = await self._client.load(ValidatorRecord, validator_key(validator))
            if record is not None and record.power and record.verifier_key == self._key.public:
                own = validator
        self._committee = members
        return own

    async def _submit(self, command: Submit) -> None:
        epoch = self._core.number
        try:
            result = await self._client.submit(command.kind, command.body, self._key)
        except ChainUnavailable as error:
            log.warning("a step was not recorded", extra={"fields": {"step": command.step, "reason": error}})
            self._tell(Unsubmitted(command.step), epoch)
            return
        if result.code == STALE_NONCE:  # a later transaction of ours overtook it: sign it again
            self._tell(Unsubmitted(command.step), epoch)
            return
        accepted = result.code in (0, DUPLICATE)
        if not accepted:
            fields = {"step": command.step, "code": result.code, "reason": result.log}
            log.warning("a step was refused", extra={"fields": fields})
        self._tell(Submitted(command.step, accepted), epoch)

    async def _ask(self, command: Ask) -> None:
        epoch = self._core.number
        await asyncio.sleep(command.delay)
        self._tell(Asked(challenge_hash(command.challenge)), epoch)
        transcript = await self._challenger.ask(command.challenge)
        if transcript is not None:
            self._tell(Answered(transcript), epoch)

    async def _read_transcripts(self, command: ReadTranscripts) -> None:
        records: list[TranscriptRecord] = []
        try:
            for validator in self._committee:
                opened, _ = await self._client.load(OpenedChallenges, opened_key(command.epoch, validator))
                for name in opened.names if opened is not None else ():
                    record, _ = await self._client.load(TranscriptRecord, transcript_key(command.epoch, name))
                    if record is not None:
                        records.append(record)
        except (ChainUnavailable, ProofRejected) as error:
            log.warning("the transcripts cannot be read", extra={"fields": {"reason": error}})
            self._tell(Unsubmitted(command.step), command.epoch)
            return
        self._tell(TranscriptsRead(command.step, tuple(records)), command.epoch)

    async def _score(self, command: ScoreThem) -> None:
        epoch = self._core.number
        try:
            group, _ = await self._client.load(ModelGroup, group_key(self._group))
        except (ChainUnavailable, ProofRejected):
            group = None
        usable = self._scorer.can_judge(group, command.profile)
        scores = await self._scorer.score(command.records, command.profile) if usable else ()
        self._tell(ScoresMade(command.step, scores), epoch)


def save(path: Path, memory: Memory) -> None:
    """Write the memory whole, readable by its owner only."""
    files.replace(path, memory.to_json())
