"""Whole epochs on the ledger: beacon, leader, assignment, tally, reputation, pruning; and two replicas that agree."""

from typing import Any

import pytest

from abci_app.state import epoch
from abci_app.state.challenge import owns, parameters
from network.chain_records import UNIT, TranscriptRecord, VrfRecord, epoch_key, transcript_key, vrf_key
from network.chain_tx import EVIDENCE_OFFSET, Score, Transcript, challenge_hash
from network.crypto import sha256
from network.ids import node_id

GOOD, BAD = 980_000_000, 10_000_000
CLEAR = EVIDENCE_OFFSET - 900
PROVEN = EVIDENCE_OFFSET + 20_000


def scores(chain: Any, credit: int = GOOD, evidence: int = CLEAR) -> list[Score]:
    return [Score(challenge_hash(challenge), credit, evidence) for challenge in chain.all_challenges()]


def answer(chain: Any) -> Any:
    return lambda _, challenge: chain.reply(challenge)


def test_an_honest_epoch_raises_every_challenged_node(chain: Any) -> None:
    chain.ask(answer(chain))
    asked = {challenge.node_id for challenge in chain.all_challenges()}
    chain.score({index: scores(chain) for index in range(4)})
    record, events = chain.end_epoch()
    assert {result.node_id for result in record.results} == asked
    for result in record.results:
        assert result.credit == GOOD and result.reason == epoch.CLEAN and result.trusted
        assert result.reputation_after == (400_000_000 * 500_000_000 + 600_000_000 * GOOD) // UNIT
        assert result.scored == result.challenges
    assert events[0].kind == "epoch_ended" and events[-1].kind == "epoch_begun"
    assert chain.epoch.number == 1 and chain.epoch.beacon != record.beacon


def test_the_lowest_output_leads(chain: Any) -> None:
    chain.ask(answer(chain))
    outputs = {verifier.id: chain.state.load(VrfRecord, vrf_key(0, verifier.id)).output for verifier in chain.verifiers}
    assert chain.epoch.leader == min(outputs, key=lambda validator: outputs[validator])


def test_two_replicas_agree_bit_by_bit(make_chain: Any) -> None:
    replicas = [make_chain(), make_chain()]
    for chain in replicas:
        for credit in (GOOD, BAD):
            chain.ask(answer(chain))
            chain.score({index: scores(chain, credit) for index in range(4)})
            chain.end_epoch()
    assert replicas[0].state.changes() == replicas[1].state.changes()


def test_the_median_ignores_one_liar(chain: Any) -> None:
    chain.ask(answer(chain))
    sheets = {index: scores(chain) for index in range(3)}
    sheets[3] = scores(chain, 0, PROVEN)
    chain.score(sheets)
    record, _ = chain.end_epoch()
    assert all(result.credit == GOOD for result in record.results)


def test_no_quorum_is_no_result(chain: Any) -> None:
    chain.ask(answer(chain))
    before = [chain.node(index) for index in range(3)]
    chain.score({index: scores(chain, 0, PROVEN) for index in range(2)})
    record, _ = chain.end_epoch()
    assert [chain.node(index) for index in range(3)] == before
    assert all(result.reason == epoch.UNSCORED and result.scored == 0 for result in record.results)


def test_one_proven_cheat_zeroes_the_epoch(chain: Any) -> None:
    chain.ask(answer(chain))
    target = chain.all_challenges()[0]
    mixed = [
        Score(score.challenge_hash, 0, PROVEN) if score.challenge_hash == challenge_hash(target) else score
        for score in scores(chain)
    ]
    chain.score({index: mixed for index in range(4)})
    record, _ = chain.end_epoch()
    by_node = {result.node_id: result for result in record.results}
    caught = by_node.pop(target.node_id)
    assert caught.credit == 0 and caught.reason == epoch.CHEATED and not caught.trusted
    assert caught.reputation_after == 200_000_000
    assert all(result.credit == GOOD for result in by_node.values())


def test_small_signs_add_up_over_epochs(chain: Any) -> None:
    """No answer proves anything: 4 nats each, epoch after epoch, until together they do; then the sum begins anew."""
    reasons: list[str] = []
    suspicion, watched = 0, node_id(chain.models[0].public)
    while epoch.ACCUMULATED not in reasons:
        chain.ask(answer(chain))
        count = len([each for each in chain.all_challenges() if each.node_id == watched])
        chain.score({index: scores(chain, GOOD, EVIDENCE_OFFSET + 4_000) for index in range(4)})
        record, _ = chain.end_epoch()
        reasons += [result.reason for result in record.results if result.node_id == watched]
        suspicion += 4_000 * count
        reached = suspicion >= parameters(chain.state).suspicion_limit
        assert (reasons[-1:] == [epoch.ACCUMULATED]) == reached and chain.node(0).suspicion == (0 if reached else suspicion)
    caught = next(result for result in record.results if result.node_id == watched)
    assert caught.credit == 0 and len(reasons) > 1 and set(reasons[:-1]) == {epoch.CLEAN}


def test_clear_answers_leave_no_suspicion(chain: Any) -> None:
    chain.ask(answer(chain))
    chain.score({index: scores(chain, GOOD, CLEAR) for index in range(4)})
    chain.end_epoch()
    assert [chain.node(index).suspicion for index in range(3)] == [0, 0, 0]


def test_a_forwarded_reply_counts_for_the_node_that_signed(chain: Any) -> None:
    other = chain.models[1]
    chain.ask(lambda _, challenge: chain.reply(challenge, by=other))
    chain.score({index: scores(chain) for index in range(4)})
    record, _ = chain.end_epoch()
    assert [result.node_id for result in record.results] == [node_id(other.public)]
    assert chain.node(0).reputation == 500_000_000


def test_missing_replies_need_two_authors_and_leave_reputation_alone(chain: Any) -> None:
    chain.ask(lambda _, challenge: Transcript(challenge_hash(challenge)))
    record, _ = chain.end_epoch()
    authors: dict[bytes, int] = {}
    for verifier in chain.verifiers:
        for result in record.results:
            challenged = owns(verifier.output(record), result.node_id, 0, parameters(chain.state))
            authors[result.node_id] = authors.get(result.node_id, 0) + challenged
    assert authors
    for result in record.results:
        assert result.missing == (result.challenges if authors[result.node_id] >= 2 else 0)
        assert result.reputation_after == 500_000_000


def test_an_answer_to_another_prompt_needs_two_authors(chain: Any) -> None:
    chain.ask(answer(chain))
    first = chain.challenges(chain.verifiers[0])
    odd = {challenge_hash(first[0])}
    marked = [Score(score.challenge_hash, 0, 0) if score.challenge_hash in odd else score for score in scores(chain)]
    chain.score({index: marked for index in range(4)})
    record, _ = chain.end_epoch()
    assert all(result.credit in (GOOD, 0) and result.reason != epoch.CHEATED for result in record.results)
    assert all(result.credit == GOOD for result in record.results if result.scored)
    chain.ask(answer(chain))
    chain.score({index: scores(chain, 0, 0) for index in range(4)})
    record, _ = chain.end_epoch()
    reasons = {result.reason for result in record.results if result.challenges > 1}
    assert reasons == {epoch.ABNORMAL}


def test_old_rows_are_pruned_and_results_stay(make_chain: Any) -> None:
    chain = make_chain(models=1)
    for _ in range(epoch.KEPT_EPOCHS + 2):
        chain.ask(answer(chain))
        chain.score({index: scores(chain) for index in range(4)})
        chain.end_epoch()
    number = chain.epoch.number
    for rows in (vrf_key, epoch.commitment_key, transcript_key, epoch.score_commitment_key, epoch.sheet_key):
        assert not list(chain.state.scan(rows(number - 1 - epoch.KEPT_EPOCHS, b"")))
        assert list(chain.state.scan(rows(number - epoch.KEPT_EPOCHS, b"")))
    assert chain.state.get(epoch_key(0)) is not None


def test_the_committee_sees_medians_in_the_transcripts(chain: Any) -> None:
    chain.ask(answer(chain))
    chain.score({index: scores(chain, GOOD + index) for index in range(4)})
    names = [challenge_hash(challenge) for challenge in chain.all_challenges()]
    chain.end_epoch()
    for name in names:
        record = chain.state.load(TranscriptRecord, transcript_key(0, name))
        assert record.score.credit == GOOD + 1 and record.votes == 4


@pytest.mark.parametrize("share", [0, UNIT // 4, UNIT])
def test_selection_follows_the_assignment_share(chain: Any, share: int) -> None:
    params = parameters(chain.state)
    thinned = params.__class__(**{**{name: getattr(params, name) for name in params.__slots__}, "assignment": share})
    outputs = [sha256(bytes((number,))) * 2 for number in range(200)]
    chosen = sum(owns(output, bytes(20), 0, thinned) for output in outputs)
    assert abs(chosen - 200 * share / UNIT) <= 25 and (share not in (0, UNIT) or chosen == 200 * share // UNIT)
    assert not owns(outputs[0], bytes(20), 1, params)
