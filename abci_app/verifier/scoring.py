"""An epoch's transcripts to one verifier's scores, in one pass of the reference model. Pure: weights come in mapped.

"Cannot verify" is never "failed": what this verifier cannot reproduce gets no score from it. Section 4 of
`docs/verification.md`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from abci_app.state.tally import OTHER_PROMPT
from abci_app.verifier.profiles import judge_for
from abci_app.verifier.reference.layout import ReferenceInfo
from abci_app.verifier.reference.model import ReferenceModel, Scored
from abci_app.verifier.reference.prompt import PromptReader, UnreadablePrompt
from network.chain_records import TranscriptRecord
from network.chain_tx import EVIDENCE_OFFSET, Challenge, Score
from network.inference import Finish, ReplyStatement, prompt_hash

MAX_SEQUENCE = 512  # prompt and answer tokens that a verifier computes for one challenge
MAX_BATCH = 16  # transcripts in one pass: bounds its memory


@dataclass(frozen=True, slots=True)
class _Case:
    """A transcript that needs the reference model."""

    name: bytes
    challenge: Challenge
    statement: ReplyStatement
    sequence: Scored


def score_transcripts(
    records: Sequence[TranscriptRecord], profile: str, info: ReferenceInfo, reader: PromptReader, model: ReferenceModel
) -> tuple[Score, ...]:
    """One score for every transcript that can be verified, in ascending order of challenge."""
    scores: list[Score] = []
    cases: list[_Case] = []
    for record in records:
        found = _sorted_out(record, info, reader)
        if isinstance(found, Score):
            scores.append(found)
        elif found is not None:
            cases.append(found)
    for start in range(0, len(cases), MAX_BATCH):
        scores += _scored(cases[start : start + MAX_BATCH], profile, info, model)
    return tuple(sorted(scores, key=lambda score: score.challenge_hash))


def _sorted_out(record: TranscriptRecord, info: ReferenceInfo, reader: PromptReader) -> Score | _Case | None:
    """A verdict that needs no model, a case for the model, or None: cannot verify."""
    if record.transcript is None or record.transcript.statement is None:
        return None
    statement: ReplyStatement = record.transcript.statement
    name: bytes = record.transcript.challenge_hash
    if statement.model_hash.hex() != info.model_hash:
        return None
    try:
        prompt = reader.tokens(record.challenge.body)
    except UnreadablePrompt:
        return None
    if not prompt or len(prompt) + len(statement.token_ids) > MAX_SEQUENCE:
        return None
    if statement.prompt_hash != prompt_hash(prompt):
        return Score(name, 0, OTHER_PROMPT)
    if not _is_whole(statement, info):
        return Score(name, 0, EVIDENCE_OFFSET)
    return _Case(name, record.challenge, statement, Scored((*prompt, *statement.token_ids), len(prompt)))


def _is_whole(statement: ReplyStatement, info: ReferenceInfo) -> bool:
    """The tokens exist, and the answer ends where it may: at an end token, or at the limit that was asked for."""
    if max(statement.token_ids) >= info.shape.vocabulary:
        return False
    if statement.finish == Finish.LENGTH:
        limit: int = statement.sampling.max_tokens
        return len(statement.token_ids) == limit
    last: int = statement.token_ids[-1]
    return last in info.eos_tokens


def _scored(cases: Sequence[_Case], profile: str, info: ReferenceInfo, model: ReferenceModel) -> Iterable[Score]:
    judges = [judge_for(profile, case.challenge, case.statement, info.eos_tokens) for case in cases]
    for index, start, rows in model.logits([case.sequence for case in cases]):
        judges[index].add(rows, cases[index].statement.token_ids[start : start + len(rows)])
    for case, judge in zip(cases, judges, strict=True):
        yield Score(case.name, *judge.score())
