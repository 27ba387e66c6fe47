"""Transcripts to scores with a tiny model: honest, cheating, cut short, for another prompt, and not ours to judge."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abci_app.state.tally import OTHER_PROMPT
from abci_app.verifier.profiles import can_score
from abci_app.verifier.reference.model import Scored
from abci_app.verifier.scoring import MAX_SEQUENCE, score_transcripts
from abci_app.verifier.seeded import uniforms
from network.chain_records import UNIT, TranscriptRecord
from network.chain_tx import EVIDENCE_OFFSET, Challenge, Transcript, challenge_hash
from network.inference import Finish, ReplyStatement, Sampling, prompt_hash, sampling_seed

NODE = bytes(20)


def generate(tiny: Any, prompt: tuple[int, ...], sampling: Sampling, seed: int) -> tuple[tuple[int, ...], Finish]:
    """What an honest engine answers: one token at a time, id order, first cumulative sum >= u."""
    tokens: list[int] = []
    for number in uniforms(seed, sampling.max_tokens):
        sequence = Scored((*prompt, *tokens, 0), len(prompt) + len(tokens))
        row = next(iter(tiny.model.logits([sequence])))[2][0]
        weights = np.exp((row - row.max()) / np.float32(sampling.temperature_milli / 1000)).astype(np.float64)
        cumulated = np.cumsum(weights)
        tokens.append(int(np.searchsorted(cumulated, number * cumulated[-1])))
        if tokens[-1] in tiny.info.eos_tokens:
            return tuple(tokens), Finish.STOP
    return tuple(tokens), Finish.LENGTH


def record(tiny: Any, number: int, *, seed_shift: int = 0, **changes: Any) -> TranscriptRecord:
    body = b'{"messages":[{"content":"question %d","role":"user"}]}' % number
    sampling = Sampling(800, 0, 0, 32)
    challenge = Challenge(1, NODE, 0, bytes([number]) * 32, sampling, body, bytes(32))
    prompt = tiny.reader.tokens(body)
    model_hash = bytes.fromhex(tiny.info.model_hash)
    seed = sampling_seed(challenge.nonce, NODE, model_hash) + seed_shift
    tokens, finish = generate(tiny, prompt, sampling, seed)
    statement = ReplyStatement(b"", challenge.nonce, NODE, model_hash, prompt_hash(prompt), sampling, tokens, finish)
    statement = replace(statement, **changes)
    return TranscriptRecord(NODE, challenge, Transcript(challenge_hash(challenge), statement, bytes(64), NODE))


def score(tiny: Any, *records: TranscriptRecord, profile: str = "seeded") -> list[tuple[int, int]]:
    found = score_transcripts(records, profile, tiny.info, tiny.reader, tiny.model)
    assert list(found) == sorted(found, key=lambda each: each.challenge_hash)
    by_name = {each.challenge_hash: (each.credit, each.evidence) for each in found}
    return [by_name[r.transcript.challenge_hash] for r in records if r.transcript.challenge_hash in by_name]


def test_honest_answers_pass_and_another_seed_does_not(tiny: Any) -> None:
    honest = score(tiny, *(record(tiny, number) for number in range(1, 20)))
    assert all(credit > 0.95 * UNIT and evidence < EVIDENCE_OFFSET for credit, evidence in honest)
    assert len(honest) == 19  # more than one batch
    cached = score(tiny, record(tiny, 1, seed_shift=1))
    assert cached[0][0] < 0.4 * UNIT and cached[0][1] > EVIDENCE_OFFSET


def test_scores_do_not_depend_on_the_company(tiny: Any) -> None:
    records = [record(tiny, number, seed_shift=number % 2) for number in range(1, 6)]
    together = score(tiny, *records)
    alone = [score(tiny, each)[0] for each in records]
    for (credit, evidence), (other_credit, other_evidence) in zip(together, alone, strict=True):
        assert abs(credit - other_credit) < UNIT // 100 and abs(evidence - other_evidence) < 100


def test_what_the_statement_says_wrongly(tiny: Any) -> None:
    whole = record(tiny, 7)
    ids = whole.transcript.statement.token_ids
    assert score(tiny, record(tiny, 7, prompt_hash=bytes(32))) == [(0, OTHER_PROMPT)]
    assert score(tiny, record(tiny, 7, token_ids=ids[:5], finish=Finish.LENGTH)) == [(0, EVIDENCE_OFFSET)]
    assert score(tiny, record(tiny, 7, token_ids=(*ids[:5], 90), finish=Finish.STOP)) == [(0, EVIDENCE_OFFSET)]
    assert score(tiny, record(tiny, 7, token_ids=(*ids[:-1], 99_999))) == [(0, EVIDENCE_OFFSET)]


def test_what_cannot_be_verified_gets_no_score(tiny: Any) -> None:
    whole = record(tiny, 8)
    unreadable = replace(whole, challenge=replace(whole.challenge, body=b'{"messages":[],"tools":[]}'))
    long_body = b'{"prompt":"%s"}' % (b"a" * MAX_SEQUENCE)
    too_long = replace(whole, challenge=replace(whole.challenge, body=long_body))
    unanswered = replace(whole, transcript=Transcript(whole.transcript.challenge_hash))
    assert score(tiny, record(tiny, 8, model_hash=bytes(32)), unreadable, too_long, unanswered) == []
    assert not can_score("unheard", "llamacpp-mt19937-v1") and not can_score("seeded", "gumbel-v1")
    assert can_score("paper", "gumbel-v1") and can_score("typical", "gumbel-v1")


def test_the_paper_profile_is_neutral_about_evidence(tiny: Any) -> None:
    ((credit, evidence),) = score(tiny, record(tiny, 9), profile="paper")
    assert 0 < credit < UNIT and evidence == EVIDENCE_OFFSET


@pytest.mark.parametrize("profile", ["seeded", "paper"])
def test_two_verifiers_agree(tiny: Any, profile: str) -> None:
    records = [record(tiny, number) for number in range(1, 5)]
    assert score(tiny, *records, profile=profile) == score(tiny, *records, profile=profile)
