"""Each invariant finds what breaks it; a sound state breaks none (every block of the `Ledger` fixture asks, too)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from abci_app.state.context import ValidatorUpdate
from abci_app.state.invariants import check, updated
from abci_app.state.params import DEFAULT
from abci_app.state.state import MemoryReader, State
from network.chain_records import (
    DIRECTORY_KEY,
    GOVERNANCE_KEY,
    PARAMS_KEY,
    UPGRADE_KEY,
    Account,
    DirectoryEntry,
    DirectoryRecord,
    EpochRecord,
    EvidenceRecord,
    GovernanceRecord,
    ModelGroup,
    NodeRecord,
    PendingProposal,
    ProposalRecord,
    account_key,
    epoch_key,
    evidence_key,
    group_key,
    node_key,
    proposal_key,
    validator_key,
)
from network.chain_tx import UpgradePlan
from network.ids import node_id

KEY = bytes(range(32))
NODE = node_id(KEY)


def jail_with_power(state: State, ledger: Any) -> None:
    state.save(validator_key(node_id(ledger.consensus[0].public)), replace(ledger.member(0), jailed=True))


def share_a_key(state: State, ledger: Any) -> None:
    held = replace(ledger.member(0), verifier_key=ledger.member(1).verifier_key)
    state.save(validator_key(node_id(held.consensus_key)), held)


def lose_all_power(state: State, ledger: Any) -> None:
    for number in range(4):
        held = ledger.member(number)
        state.save(validator_key(node_id(held.consensus_key)), replace(held, power=0))


BREAKS: dict[str, Callable[[State, Any], None]] = {
    "window": lambda state, _: state.save(PARAMS_KEY, replace(DEFAULT, window=0)),
    "jailed with power": jail_with_power,
    "share a verifier key": share_a_key,
    "none with power": lose_all_power,
    "another key's id": lambda state, _: state.save(node_key(bytes(20)), NodeRecord(KEY)),
    "not registered": lambda state, _: state.save(DIRECTORY_KEY, DirectoryRecord("c", 0, 1, b"", (DirectoryEntry(NODE),))),
    "in a directory that is up to date": lambda state, _: state.save(
        DIRECTORY_KEY, DirectoryRecord("c", 0, 1, b"", (DirectoryEntry(NODE),))
    ),
    "has no node": lambda state, _: state.save(account_key(KEY), Account(1)),
    "has spent in epoch": lambda state, _: state.save(account_key(KEY), Account(1, 9, 1, True)),
    "of another epoch": lambda state, _: state.save(epoch_key(0), EpochRecord(0, 1)),
    "two of one member": lambda state, _: state.save(
        GOVERNANCE_KEY, GovernanceRecord(2, (PendingProposal(1, NODE), PendingProposal(2, NODE)))
    ),
    "stands otherwise": lambda state, _: state.save(proposal_key(1), ProposalRecord(1, NODE, status=1)),
    "without a record": lambda state, _: state.save(GOVERNANCE_KEY, GovernanceRecord(1, (PendingProposal(1, NODE),))),
    "leads to version": lambda state, _: state.save(UPGRADE_KEY, UpgradePlan("x", 1, 1)),
    "under another's name": lambda state, _: state.save(group_key("a"), ModelGroup("b", KEY, "s")),
    "evidence": lambda state, _: state.save(evidence_key(5, bytes(20), 1), EvidenceRecord(NODE, 1, 5, 6)),
}


@pytest.mark.parametrize("words", BREAKS)
def test_what_breaks_is_found(ledger: Any, words: str) -> None:
    ledger.block()
    state = ledger.state
    assert check(ledger.rows) == []
    BREAKS[words](state, ledger)
    assert any(words in fault for fault in check(MemoryReader(dict(state.scan(b"")))))


@pytest.mark.parametrize(
    "updates",
    [
        (ValidatorUpdate(KEY, 1), ValidatorUpdate(KEY, 2)),
        (ValidatorUpdate(bytes(32), 0),),
        (ValidatorUpdate(KEY, 0),),
        (ValidatorUpdate(bytes(32), 2**60),),
    ],
)
def test_updates_that_would_stop_the_engine(updates: tuple[ValidatorUpdate, ...]) -> None:
    with pytest.raises(ValueError):
        updated({KEY: 5}, updates)


def test_updates_that_it_takes() -> None:
    other = bytes(32)
    assert updated({KEY: 5}, (ValidatorUpdate(other, 7), ValidatorUpdate(KEY, 0))) == {other: 7}
