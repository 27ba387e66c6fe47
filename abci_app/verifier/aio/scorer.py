"""Runs the reference model in one background thread and gives its memory back afterwards.

The weights are mapped only while a batch is scored: between batches a verifier keeps neither them nor the working arrays,
so that its idle memory is small; the page cache, shared by all verifiers of a machine, keeps them warm.
"""

import asyncio
import ctypes
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from abci_app.verifier.profiles import can_score
from abci_app.verifier.reference.layout import ReferenceInfo, count, info_from_json, info_path
from abci_app.verifier.reference.model import ReferenceModel
from abci_app.verifier.reference.prompt import PromptReader
from abci_app.verifier.scoring import score_transcripts
from network.chain_records import ModelGroup, TranscriptRecord
from network.chain_tx import Score
from network.errors import ConfigError

log = logging.getLogger(__name__)
_libc = ctypes.CDLL(None)


class Scorer:
    """Scores transcripts with the reference under one path. Raises ConfigError when there is none that can be used."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._info = read_info(weights)
        self._known: dict[bytes, Score] = {}

    def can_judge(self, group: ModelGroup | None, profile: str) -> bool:
        """Whether this verifier can score the group's answers under the chain's profile; says so once an epoch if not."""
        if group is None or group.model_hash.hex() != self._info.model_hash:
            log.warning("no score: the reference is not the group's model", extra={"fields": {"reference": self._weights.name}})
            return False
        if not can_score(profile, group.scheme):
            log.warning("no score: unknown profile or scheme", extra={"fields": {"profile": profile, "scheme": group.scheme}})
            return False
        return True

    async def score(self, records: Sequence[TranscriptRecord], profile: str) -> tuple[Score, ...]:
        """This verifier's scores of these transcripts, in ascending order of challenge.

        A published transcript cannot change, so what was scored in the last call is not scored again.
        """
        new = [record for record in records if record.transcript.challenge_hash not in self._known]
        made = await asyncio.to_thread(self._score, new, profile) if new else ()
        wanted = {record.transcript.challenge_hash for record in records}
        self._known = {name: score for name, score in self._known.items() if name in wanted}
        self._known |= {score.challenge_hash: score for score in made}
        return tuple(self._known[name] for name in sorted(self._known))

    def _score(self, records: Sequence[TranscriptRecord], profile: str) -> tuple[Score, ...]:
        began = time.thread_time()
        weights = np.load(self._weights, mmap_mode="r")
        reader = PromptReader(self._info)
        scores = score_transcripts(records, profile, self._info, reader, ReferenceModel(self._info.shape, weights))
        del weights, reader
        _libc.malloc_trim(0)
        spent = time.thread_time() - began
        fields = {"transcripts": len(records), "scored": len(scores), "cpu_s": f"{spent:.2f}"}
        log.info("transcripts scored", extra={"fields": fields})
        return scores


def read_info(weights: Path) -> ReferenceInfo:
    """The description of the reference under this path. Raises ConfigError."""
    try:
        info = info_from_json(info_path(weights).read_text())
        size = weights.stat().st_size
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"verifier.reference {weights} cannot be used: {error}. Run make setup.") from error
    if size < 4 * count(info.shape):
        raise ConfigError(f"verifier.reference {weights} is too short for its model. Delete it and run make setup.")
    return info
