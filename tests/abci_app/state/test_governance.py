"""Proposals from their making to their end: who may, what decides, when it takes effect, and what stays bounded."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abci_app.state import errors, governance
from abci_app.state.challenge import parameters
from abci_app.state.context import Misbehavior
from network.chain_records import GOVERNANCE_KEY, GovernanceRecord, ProposalStatus, group_key, proposal_key
from network.chain_tx import GroupChange, Propose, TxKind, ValidatorChange
from network.crypto import SigningKey
from network.ids import node_id

HASH = bytes(range(32))
GROUP = {"group": GroupChange("tiny", HASH, "llamacpp-mt19937-v1")}


def test_a_proposal_passes_above_two_thirds_and_is_enacted_at_the_epochs_end(ledger: Any) -> None:
    """40 power: 26 would not do, 30 does."""
    assert ledger.codes(ledger.propose(0, **GROUP), ledger.vote(1, 1)) == [0, 0]
    assert ledger.proposal(1).status == ProposalStatus.OPEN
    result = ledger.block(ledger.vote(2, 1))
    assert ledger.proposal(1).status == ProposalStatus.PASSED
    assert [event.kind for event in result.tx_results[0].events] == ["message", "proposal_voted", "proposal_passed"]
    ledger.to(5)
    assert ledger.state.get(group_key("tiny")) is None, "the epoch runs on"
    result = ledger.block()
    assert ledger.height == 6 and ledger.state.get(group_key("tiny")) is not None
    assert [event.kind for event in result.events][-3:] == ["proposal_enacted", "group_changed", "directory_written"]
    record = ledger.proposal(1)
    assert (record.status, record.decided_height, len(record.votes)) == (ProposalStatus.ENACTED, 2, 3)
    assert ledger.state.load(GovernanceRecord, GOVERNANCE_KEY) == GovernanceRecord(1)


def test_it_is_rejected_as_soon_as_it_cannot_pass(ledger: Any) -> None:
    ledger.block(ledger.propose(0, **GROUP), ledger.vote(1, 1, False))
    assert ledger.proposal(1).status == ProposalStatus.OPEN, "30 of 40 may still approve"
    ledger.block(ledger.vote(2, 1, False))
    assert ledger.proposal(1).status == ProposalStatus.REJECTED
    assert ledger.codes(ledger.vote(3, 1)) == [errors.PROPOSAL_CLOSED]
    ledger.to(6)
    assert ledger.state.get(group_key("tiny")) is None


def test_it_expires(ledger: Any) -> None:
    ledger.block(ledger.propose(0, **GROUP), ledger.vote(1, 1))
    ledger.to(20)
    assert ledger.proposal(1).status == ProposalStatus.OPEN
    result = ledger.block()
    assert ledger.proposal(1).status == ProposalStatus.EXPIRED and ledger.height == 1 + 20
    assert any(event.kind == "proposal_expired" for event in result.events)


def test_the_last_vote_counts(ledger: Any) -> None:
    ledger.block(ledger.propose(0, **GROUP), ledger.vote(1, 1, False), ledger.vote(1, 1), ledger.vote(0, 1, False))
    record = ledger.proposal(1)
    assert record.status == ProposalStatus.OPEN and sorted(vote.approve for vote in record.votes) == [False, True]
    ledger.block(ledger.vote(0, 1), ledger.vote(3, 1))
    assert ledger.proposal(1).status == ProposalStatus.PASSED


def test_only_members_and_one_pending_each(ledger: Any) -> None:
    stranger = SigningKey(HASH)
    refused = ledger.tx(stranger, TxKind.PROPOSE, Propose("x", **GROUP))
    outsider = ledger.propose(5, **GROUP)
    assert ledger.codes(refused, outsider) == [errors.UNKNOWN_SIGNER] * 2
    assert ledger.codes(ledger.propose(0, **GROUP), ledger.propose(0, **GROUP)) == [0, errors.PROPOSAL_PENDING]
    assert ledger.codes(ledger.vote(1, 2), ledger.vote(1, 1), ledger.vote(2, 1)) == [errors.UNKNOWN_PROPOSAL, 0, 0]
    assert ledger.codes(ledger.propose(0, **GROUP)) == [errors.PROPOSAL_PENDING], "passed, but not enacted"
    ledger.to(6)
    assert ledger.codes(ledger.propose(0, group=GroupChange("tiny"))) == [0]


def test_what_became_impossible_fails_with_the_reason(ledger: Any) -> None:
    both = [ledger.propose(0, **GROUP), ledger.propose(1, **GROUP)]
    ledger.block(*both, *(ledger.vote(member, number) for number in (1, 2) for member in (2, 3)))
    ledger.to(6)
    assert ledger.proposal(1).status == ProposalStatus.ENACTED
    failed = ledger.proposal(2)
    assert failed.status == ProposalStatus.FAILED and "the group exists" in failed.reason


def test_power_is_counted_when_votes_are(ledger: Any) -> None:
    """Three leave one after the other: with each, the others' votes weigh more."""
    for leaving in (3, 2):
        number = 1 if leaving == 3 else 2
        change = ValidatorChange(ledger.consensus[leaving].public)
        ledger.block(ledger.propose(0, validator=change), *(ledger.vote(member, number) for member in (1, leaving)))
        ledger.to(6 * number)
        assert ledger.proposal(number).status == ProposalStatus.ENACTED
    assert len(ledger.powers) == 2
    assert ledger.codes(ledger.vote(2, 1)) == [errors.NOT_A_VERIFIER], "who has left votes no more"
    ledger.block(ledger.propose(0, **GROUP), ledger.vote(1, 3))
    assert ledger.proposal(3).status == ProposalStatus.PASSED, "20 of 20, where it took 30 of 40"


def test_parameters_change_between_epochs(ledger: Any) -> None:
    wanted = replace(parameters(ledger.state), tx_quota=99, max_block_bytes=2 << 20)
    ledger.block(ledger.propose(0, params=wanted), ledger.vote(1, 1), ledger.vote(2, 1))
    assert ledger.to(5).consensus_params is None and parameters(ledger.state).tx_quota == 16
    result = ledger.block()
    assert parameters(ledger.state) == wanted
    assert result.consensus_params is not None and result.consensus_params.block_max_bytes == 2 << 20
    assert result.consensus_params.app_version == 0 and ledger.block().consensus_params is None


def test_old_proposals_are_dropped_but_pending_ones_kept(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governance, "KEPT_PROPOSALS", 2)
    ledger.block(ledger.propose(3, **GROUP))
    for number in range(2, 6):
        ledger.block(ledger.propose(0, group=GroupChange(f"g{number}", HASH, "s")))
        ledger.block(*(ledger.vote(member, number, False) for member in (1, 2)))
    kept = [number for number in range(1, 7) if ledger.state.get(proposal_key(number)) is not None]
    assert kept == [1, 4, 5]
    ledger.to(21)
    assert ledger.state.get(proposal_key(1)) is None, "closed, it is older than what is kept"


steps = st.sampled_from(["propose", "vote", "reject", "crime"])
actions = st.tuples(steps, st.integers(0, 5), st.integers(1, 6), st.integers(0, 12))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(actions, max_size=6), max_size=20))
def test_any_run_of_votes_keeps_the_invariants(make_ledger: Callable[..., Any], blocks: list[Any]) -> None:
    """[APP-GOV-1] Members come, change power, leave and are jailed; the engine's set follows every time (see `Ledger`)."""
    ledger = make_ledger(voting_blocks=7)
    for block in blocks:
        txs, crimes = [], []
        for what, member, number, power in block:
            if what == "crime":
                crimes.append(Misbehavior(1 + number % 2, node_id(ledger.consensus[member].public), 1 + ledger.height // 2))
            elif what == "propose":
                key = ledger.consensus[number % 6].public
                change = ValidatorChange(key, ledger.verifiers[number % 6].public, power // 4, f"v{number % 6}")
                txs.append(ledger.propose(member, validator=change))
            else:
                txs.append(ledger.vote(member, number, what == "vote"))
        ledger.block(*txs, misbehavior=tuple(crimes))
