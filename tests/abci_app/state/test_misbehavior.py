"""Evidence: punished once, however often and in whatever company it comes; only a vote brings a member back."""

from typing import Any

import pytest

from abci_app.state import errors
from abci_app.state.context import Misbehavior
from network.chain_records import EVIDENCE_PREFIX, ProposalStatus
from network.chain_tx import ValidatorChange
from network.ids import node_id


def crime(ledger: Any, member: int, height: int, kind: int = 1) -> Misbehavior:
    return Misbehavior(kind, node_id(ledger.consensus[member].public), height)


def kinds(result: Any) -> list[str]:
    return [event.kind for event in result.events]


def test_the_offender_loses_its_power_and_its_verifier_its_rights(ledger: Any) -> None:
    ledger.block()
    result = ledger.block(ledger.vote(3, 1), misbehavior=(crime(ledger, 3, 1),))
    assert [(u.consensus_key, u.power) for u in result.validator_updates] == [(ledger.consensus[3].public, 0)]
    assert "validator_jailed" in kinds(result) and result.tx_results[0].code == errors.UNKNOWN_SIGNER
    record = ledger.member(3)
    assert record.jailed and record.power == 0


def test_an_infraction_counts_once_and_further_ones_change_nothing(ledger: Any) -> None:
    ledger.block()
    first, later = crime(ledger, 3, 1), crime(ledger, 3, 2)
    ledger.block(misbehavior=(first, first))
    for again in (first, later, crime(ledger, 3, 1, kind=2)):
        result = ledger.block(misbehavior=(again,))
        assert not result.validator_updates and "validator_jailed" not in kinds(result)
    assert len(list(ledger.rows.scan(EVIDENCE_PREFIX))) == 1


def test_only_a_vote_brings_it_back_and_old_infractions_stay_forgiven(ledger: Any) -> None:
    ledger.block()
    ledger.block(misbehavior=(crime(ledger, 3, 1),))
    back = ValidatorChange(ledger.consensus[3].public, power=10)
    ledger.block(ledger.propose(0, validator=back), ledger.vote(1, 1), ledger.vote(2, 1))
    assert [u.power for u in ledger.to(6).validator_updates] == [10]
    assert not ledger.member(3).jailed and ledger.member(3).joined == 6
    assert not ledger.block(misbehavior=(crime(ledger, 3, 2),)).validator_updates, "from before its return"
    assert [u.power for u in ledger.block(misbehavior=(crime(ledger, 3, 7),)).validator_updates] == [0]


def test_the_last_validator_keeps_its_power(ledger: Any) -> None:
    ledger.block()
    result = ledger.block(misbehavior=tuple(crime(ledger, member, 1) for member in range(4)))
    assert kinds(result).count("validator_jailed") == 3 and kinds(result).count("misbehavior_unpunished") == 1
    assert len(ledger.powers) == 1
    assert "misbehavior_unpunished" not in kinds(
        ledger.block(misbehavior=tuple(crime(ledger, member, 1) for member in range(4)))
    ), "nor is it told twice"


def test_evidence_and_a_vote_in_one_block_do_not_contradict(ledger: Any) -> None:
    stronger = ValidatorChange(ledger.consensus[3].public, power=50)
    ledger.block(ledger.propose(0, validator=stronger), ledger.vote(1, 1), ledger.vote(2, 1))
    ledger.to(5)
    result = ledger.block(misbehavior=(crime(ledger, 3, 4),))
    assert [u.power for u in result.validator_updates] == [0], "who voted could not know"
    failed = ledger.proposal(1)
    assert failed.status == ProposalStatus.FAILED and "jailed after" in failed.reason
    assert ledger.codes(ledger.propose(0, validator=stronger), ledger.vote(1, 2), ledger.vote(2, 2)) == [0] * 3
    assert [u.power for u in ledger.to(12).validator_updates] == [50]


@pytest.mark.parametrize(("kind", "address"), [(0, None), (3, None), (1, bytes(20))])
def test_what_is_unknown_is_ignored(ledger: Any, kind: int, address: bytes | None) -> None:
    found = Misbehavior(kind, address or node_id(ledger.consensus[3].public), 1)
    assert not ledger.block(misbehavior=(found,)).validator_updates


def test_punishments_are_forgotten_after_a_while(make_ledger: Any) -> None:
    ledger = make_ledger(evidence_blocks=8)
    ledger.block()
    ledger.block(misbehavior=(crime(ledger, 3, 1),))
    ledger.to(6)
    assert len(list(ledger.rows.scan(EVIDENCE_PREFIX))) == 1
    ledger.to(12)
    assert not list(ledger.rows.scan(EVIDENCE_PREFIX)) and ledger.member(3).jailed
