"""The scorer's files and what it may judge; the scores themselves are tested in `test_scoring.py`."""

from pathlib import Path
from typing import Any

import pytest

from abci_app.verifier.aio.scorer import Scorer
from network.chain_records import ModelGroup, TranscriptRecord
from network.chain_tx import Score, Transcript
from network.errors import ConfigError


async def test_it_judges_its_own_model_only(tiny: Any) -> None:
    scorer = Scorer(tiny.weights)
    own = ModelGroup("g", bytes.fromhex(tiny.info.model_hash), "llamacpp-mt19937-v1")
    assert scorer.can_judge(own, "seeded") and scorer.can_judge(own, "paper") and scorer.can_judge(own, "typical")
    assert not scorer.can_judge(own, "unheard") and not scorer.can_judge(None, "seeded")
    assert not scorer.can_judge(ModelGroup("g", bytes(32), own.scheme), "seeded")


async def test_a_transcript_is_scored_once(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(tiny.weights)
    passes: list[int] = []

    def scored(records: Any, *_: Any) -> tuple[Score, ...]:
        passes.append(len(records))
        return tuple(Score(record.transcript.challenge_hash, 1, 1) for record in records)

    monkeypatch.setattr("abci_app.verifier.aio.scorer.score_transcripts", scored)
    first, second = (TranscriptRecord(transcript=Transcript(bytes((n,)) * 32)) for n in range(2))
    assert len(await scorer.score((first,), "seeded")) == 1
    both = await scorer.score((second, first), "seeded")
    assert [score.challenge_hash for score in both] == [bytes(32), bytes((1,)) * 32]
    assert await scorer.score((second,), "seeded") == both[1:]
    assert passes == [1, 1]


def test_a_reference_that_cannot_be_used_stops_the_start(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make setup"):
        Scorer(tmp_path / "absent.npy")
    short = tmp_path / "short.npy"
    short.write_bytes(tiny.weights.read_bytes()[:1000])
    (tmp_path / "short.npy.json").write_text((tiny.weights.parent / "tiny.npy.json").read_text())
    with pytest.raises(ConfigError, match="too short"):
        Scorer(short)
