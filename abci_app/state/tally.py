"""What the revealed score sheets of an epoch say about its transcripts and its model nodes.

Median per transcript, quorum by power, then one summary per node. Section 5 of `docs/verification.md`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from abci_app.state.committee import faulty, is_quorum, members
from abci_app.state.fixed import lower_median, mean
from abci_app.state.state import State
from network.chain_records import Params, TranscriptRecord, ValidatorRecord, sheet_key, transcript_key
from network.chain_tx import EVIDENCE_OFFSET, Score, ScoreSheet
from network.codec import decode
from network.ids import NodeId

# A score of this evidence says: the node signed an answer to another prompt than the opened one. Node and author can
# each be the cause, so it counts only when more than f authors met it.
OTHER_PROMPT = 0

Committee = list[tuple[NodeId, ValidatorRecord]]


@dataclass(slots=True)
class NodeTally:
    """One model node's epoch: credits and summed evidence of its scored replies, and what went wrong with the others."""

    challenges: int = 0
    credits: list[int] = field(default_factory=list)
    cheated: bool = False
    accumulated: bool = False
    evidence: int = 0
    missing_authors: list[bytes] = field(default_factory=list)
    other_prompt_authors: list[bytes] = field(default_factory=list)

    def credit(self, committee: Committee) -> int | None:
        """C(T): the mean credit, rounded down; 0 for a cheat, proven at once or by many signs; None: nothing was scored."""
        credits = self.credits
        if _distinct(self.other_prompt_authors) > faulty(committee):
            credits = credits + [0] * len(self.other_prompt_authors)
        if self.cheated or self.accumulated:
            return 0
        return mean(credits) if credits else None

    def missing(self, committee: Committee) -> int:
        """Replies that never came, if more than f distinct authors say so; else 0."""
        return len(self.missing_authors) if _distinct(self.missing_authors) > faulty(committee) else 0


def score_transcripts(state: State, epoch: int) -> None:
    """Write the committee's median into every transcript that a quorum scored."""
    committee = members(state)
    powers = [(validator, record.power) for validator, record in committee]
    votes: dict[bytes, list[tuple[Score, int]]] = {}
    for validator, power in powers:
        sheet = state.load(ScoreSheet, sheet_key(epoch, validator))
        for score in sheet.scores if sheet is not None else ():
            votes.setdefault(score.challenge_hash, []).append((score, power))
    for name, cast in sorted(votes.items()):
        key = transcript_key(epoch, name)
        record = state.load(TranscriptRecord, key)
        assert record is not None, "a revealed sheet names only published transcripts"
        judged = _median(name, cast) if is_quorum(sum(power for _, power in cast), committee) else None
        state.save(key, replace(record, score=judged, votes=len(cast)))


def tally_nodes(state: State, epoch: int, params: Params) -> dict[bytes, NodeTally]:
    """Per model node, what its challenges of the epoch came to; a reply counts for the node that signed it."""
    tallies: dict[bytes, NodeTally] = {}
    for _, value in state.scan(transcript_key(epoch, b"")):
        record = decode(TranscriptRecord, value)
        statement = record.transcript.statement if record.transcript is not None else None
        node = record.transcript.answered_by if statement is not None else record.challenge.node_id
        tally = tallies.setdefault(node, NodeTally())
        tally.challenges += 1
        if record.transcript is not None and statement is None:
            tally.missing_authors.append(record.author)
        elif record.score is not None and record.score.evidence == OTHER_PROMPT:
            tally.other_prompt_authors.append(record.author)
        elif record.score is not None:
            tally.credits.append(record.score.credit)
            tally.evidence += record.score.evidence - EVIDENCE_OFFSET
            tally.cheated |= record.score.evidence >= EVIDENCE_OFFSET + params.evidence_limit
    return tallies


def _median(name: bytes, cast: list[tuple[Score, int]]) -> Score:
    """Credit and evidence each at its own lower median by power."""
    credit = lower_median([(score.credit, power) for score, power in cast])
    evidence = lower_median([(score.evidence, power) for score, power in cast])
    return Score(name, credit, evidence)


def _distinct(authors: Iterable[bytes]) -> int:
    return len(dict.fromkeys(authors))
