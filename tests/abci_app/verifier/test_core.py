"""The verifier's epochs as transcripts: what it sees, what it does; late starts, refusals and restarts."""

from dataclasses import replace
from typing import Any

import pytest

from abci_app.state.challenge import challenge_nonce, owns
from abci_app.state.params import DEFAULT
from abci_app.verifier.agenda import EARLY_BLOCKS, Step
from abci_app.verifier.commands import Ask, ReadEpoch, ReadTranscripts, Remember, ScoreThem, Submit
from abci_app.verifier.core import VerifierCore
from abci_app.verifier.events import (
    Answered,
    Asked,
    EpochRead,
    HeightSeen,
    ScoresMade,
    Submitted,
    TranscriptsRead,
    Unsubmitted,
)
from abci_app.verifier.memory import memory_from_json
from network import vrf
from network.chain_records import DirectoryEntry, EpochRecord, TranscriptRecord
from network.chain_tx import Score, Transcript, TxKind, challenge_hash, sheet_hash
from network.crypto import SigningKey, sha256
from network.ids import Role
from network.inference import ReplyStatement

KEY = SigningKey(sha256(b"verifier"))
VALIDATOR = bytes(20)
FIRST = 101
EPOCH = EpochRecord(3, FIRST, sha256(b"beacon"))
NODES = tuple(DirectoryEntry(sha256(bytes((n,)))[:20], role=Role.MODEL, group="g") for n in range(8))
READ = EpochRead(EPOCH, DEFAULT, NODES, VALIDATOR)


def new_core(memory: Any = None) -> VerifierCore:
    return VerifierCore(KEY, "g", lambda count: bytes(count), memory=memory)


def plain(commands: list[Any]) -> list[Any]:
    """The commands without the savings."""
    return [command for command in commands if not isinstance(command, Remember)]


def remembered(commands: list[Any]) -> Any:
    """What a restart would find, through the file's text."""
    return memory_from_json([command for command in commands if isinstance(command, Remember)][-1].memory.to_json())


def at(offset: int) -> HeightSeen:
    return HeightSeen(FIRST + offset)


def committed() -> tuple[VerifierCore, tuple[Any, ...]]:
    """A core that has proven and committed, and its challenges."""
    core = new_core()
    core.on_event(at(0))
    core.on_event(READ)
    for step in (Step.PROVE, Step.COMMIT):
        core.on_event(Submitted(step, True))
    asks = plain(core.on_event(at(DEFAULT.commit_end)))
    return core, tuple(ask.challenge for ask in asks)


def statement() -> ReplyStatement:
    return ReplyStatement(token_ids=(1,), finish=1)


def reply(challenge: Any) -> Transcript:
    return Transcript(challenge_hash(challenge), statement(), bytes(64), challenge.node_id)


def test_a_whole_epoch() -> None:
    core = new_core()
    assert core.on_event(at(0)) == [ReadEpoch()]
    steps = plain(core.on_event(READ))
    assert [command.step for command in steps] == [Step.PROVE, Step.COMMIT]
    assert core.on_event(at(1)) == []  # under way: not sent twice
    assert plain(core.on_event(Submitted(Step.PROVE, True), 3)) == []
    assert plain(core.on_event(Submitted(Step.COMMIT, True), 3)) == []
    asks = plain(core.on_event(at(DEFAULT.commit_end)))
    assert asks and all(isinstance(ask, Ask) for ask in asks)
    assert plain(core.on_event(at(DEFAULT.commit_end + 1))) == []
    for ask in asks:
        core.on_event(Asked(challenge_hash(ask.challenge)), 3)
        core.on_event(Answered(reply(ask.challenge)), 3)
    (opening,) = plain(core.on_event(at(DEFAULT.send_end)))
    assert opening.step is Step.OPEN and len(opening.body.challenges) == len(asks)
    assert plain(core.on_event(at(DEFAULT.send_end + 1))) == []  # nothing is published before the opening is in
    (publishing,) = plain(core.on_event(Submitted(Step.OPEN, True), 3))
    assert publishing.step is Step.PUBLISH and len(publishing.body.transcripts) == len(asks)
    core.on_event(Submitted(Step.PUBLISH, True), 3)
    assert plain(core.on_event(at(DEFAULT.publish_end + 1))) == [ReadTranscripts(Step.SCORE, 3)]
    record = TranscriptRecord(transcript=reply(asks[0].challenge))
    empty = TranscriptRecord(transcript=Transcript(bytes(32)))
    assert plain(core.on_event(TranscriptsRead(Step.SCORE, (record, empty)), 3)) == [
        ScoreThem(Step.SCORE, (record,), DEFAULT.profile)
    ]
    (commit,) = plain(core.on_event(ScoresMade(Step.SCORE, (Score(bytes(32), 5, 6),)), 3))
    assert commit.step is Step.SCORE
    core.on_event(Submitted(Step.SCORE, True), 3)
    (reveal,) = plain(core.on_event(at(DEFAULT.score_end)))
    assert reveal.step is Step.REVEAL and sheet_hash(reveal.body.sheet) == commit.body.commitment
    core.on_event(Submitted(Step.REVEAL, True), 3)
    assert core.next_height() == FIRST + DEFAULT.epoch_blocks
    assert core.on_event(at(DEFAULT.epoch_blocks)) == [ReadEpoch()]


def test_challenges_are_owned_and_carry_the_nonce_of_the_output() -> None:
    _, challenges = committed()
    output = vrf.output(vrf.prove(KEY.seed, b"planetserve/vrf-assignment/1" + EPOCH.beacon))
    assert {challenge.node_id for challenge in challenges} == {n.node_id for n in NODES if owns(output, n.node_id, 0, DEFAULT)}
    for challenge in challenges:
        assert challenge.nonce == challenge_nonce(output, challenge.node_id, 0)


def test_a_start_after_the_commit_window_asks_nothing_but_scores() -> None:
    core = new_core()
    core.on_event(at(DEFAULT.commit_end + 3))
    assert plain(core.on_event(READ)) == []
    assert plain(core.on_event(at(DEFAULT.send_end))) == []
    assert plain(core.on_event(at(DEFAULT.publish_end + 1))) == [ReadTranscripts(Step.SCORE, 3)]


def test_what_is_published_early_is_scored_early_and_committed_once() -> None:
    core, challenges = committed()
    early = DEFAULT.send_end + EARLY_BLOCKS
    assert plain(core.on_event(at(early))) == [ReadTranscripts(Step.PRESCORE, 3)]
    assert plain(core.on_event(at(DEFAULT.publish_end + 1))) == []  # one pass of the model at a time
    record = TranscriptRecord(transcript=reply(challenges[0]))
    (scoring,) = plain(core.on_event(TranscriptsRead(Step.PRESCORE, (record,)), 3))
    assert scoring == ScoreThem(Step.PRESCORE, (record,), DEFAULT.profile)
    assert plain(core.on_event(ScoresMade(Step.PRESCORE, (Score(bytes(32), 5, 6),)), 3)) == [ReadTranscripts(Step.SCORE, 3)]


def test_an_epoch_without_replies_needs_no_scores() -> None:
    core, _ = committed()
    core.on_event(at(DEFAULT.publish_end + 1))
    assert plain(core.on_event(TranscriptsRead(Step.SCORE, ()), 3)) == []
    assert plain(core.on_event(at(DEFAULT.score_end))) == []


def test_abstaining_commits_and_reveals_nothing() -> None:
    core, _ = committed()
    core.on_event(at(DEFAULT.publish_end + 1))
    core.on_event(
        TranscriptsRead(Step.SCORE, (TranscriptRecord(transcript=Transcript(bytes(32), statement(), bytes(64), bytes(20))),)), 3
    )
    assert plain(core.on_event(ScoresMade(Step.SCORE, ()), 3)) == []
    assert plain(core.on_event(at(DEFAULT.score_end))) == []


def test_an_unanswered_transaction_is_sent_again_and_a_refused_one_is_not() -> None:
    core = new_core()
    core.on_event(at(0))
    core.on_event(READ)
    core.on_event(Unsubmitted(Step.PROVE), 3)
    (again,) = plain(core.on_event(at(1)))
    assert again.step is Step.PROVE
    core.on_event(Submitted(Step.COMMIT, False), 3)
    assert plain(core.on_event(at(2))) == []
    assert plain(core.on_event(at(DEFAULT.commit_end))) == []  # no commitment, no challenges


def test_what_was_not_asked_stays_closed_and_what_nobody_answered_is_published_late() -> None:
    core, challenges = committed()
    first, second = challenges[:2]
    core.on_event(Asked(challenge_hash(first)), 3)
    core.on_event(Asked(challenge_hash(second)), 3)
    core.on_event(Answered(reply(first)), 3)
    (opening,) = plain(core.on_event(at(DEFAULT.send_end)))
    assert set(opening.body.challenges) == {first, second}
    assert plain(core.on_event(Submitted(Step.OPEN, True), 3)) == []  # one reply is still awaited
    assert plain(core.on_event(at(DEFAULT.send_end + 2))) == []
    late = plain(core.on_event(at(DEFAULT.publish_end - 5)))
    (publishing,) = (command for command in late if isinstance(command, Submit))
    assert [transcript.challenge_hash for transcript in publishing.body.transcripts] == [challenge_hash(first)]


def test_events_of_an_old_epoch_are_ignored() -> None:
    core, challenges = committed()
    assert core.on_event(Submitted(Step.OPEN, True), 2) == []
    assert core.on_event(Asked(challenge_hash(challenges[0])), 2) == []


@pytest.mark.parametrize("moment", range(6))
def test_a_restart_goes_on_where_it_was(moment: int) -> None:
    """Killed after any saving, the verifier ends the epoch with the same commitments and at most the same asks."""
    core, challenges = committed()
    saved = remembered(core.on_event(Asked(challenge_hash(challenges[0])), 3))
    offset = DEFAULT.commit_end + 1
    if moment >= 1:
        saved = remembered(core.on_event(Answered(reply(challenges[0])), 3))
    if moment >= 2:
        core.on_event(at(DEFAULT.send_end))
        saved, offset = remembered(core.on_event(Submitted(Step.OPEN, True), 3)), DEFAULT.send_end + 1
    if moment >= 3:
        saved = remembered(core.on_event(Submitted(Step.PUBLISH, True), 3))
    if moment >= 4:
        core.on_event(at(DEFAULT.publish_end + 1))
        core.on_event(TranscriptsRead(Step.SCORE, (TranscriptRecord(transcript=reply(challenges[0])),)), 3)
        saved, offset = remembered(core.on_event(ScoresMade(Step.SCORE, (Score(bytes(32), 1, 1),)), 3)), DEFAULT.publish_end + 2
    if moment >= 5:
        saved = remembered(core.on_event(Submitted(Step.SCORE, True), 3))
    again = new_core(saved)
    again.on_event(at(offset))
    steps = plain(again.on_event(READ))
    asked = [step.challenge for step in steps if isinstance(step, Ask)]
    assert challenges[0] not in asked and all(challenge in challenges for challenge in asked)
    kinds = [step.step for step in steps if isinstance(step, Submit)]
    assert kinds == {2: [Step.PUBLISH], 4: [Step.SCORE]}.get(moment, [])
    if moment >= 4:
        assert saved.sheet is not None and remembered(again.on_event(Submitted(Step.SCORE, True), 3)).sheet == saved.sheet


def test_who_is_no_member_waits_for_the_next_epoch() -> None:
    core = new_core()
    core.on_event(at(0))
    assert plain(core.on_event(replace(READ, validator=b""))) == []
    for offset in (1, DEFAULT.commit_end, DEFAULT.send_end, DEFAULT.publish_end, DEFAULT.score_end):
        assert plain(core.on_event(at(offset))) == []
    assert core.next_height() == FIRST + DEFAULT.epoch_blocks
    assert core.on_event(at(DEFAULT.epoch_blocks)) == [ReadEpoch()]
    voted_in = replace(READ, epoch=replace(EPOCH, number=4, first_height=FIRST + DEFAULT.epoch_blocks))
    assert [command.kind for command in plain(core.on_event(voted_in))] == [TxKind.PROVE_VRF, TxKind.COMMIT_CHALLENGES]
