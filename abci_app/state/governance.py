"""Governance: the committee proposes, votes, and what passes is enacted. One member, one pending proposal.

A proposal passes as soon as more than two thirds of the committee's power approve, is rejected as soon as that can no
longer be, and expires after `voting_blocks`. Powers are those at the moment of counting, so who has left does not count.
Plans of upgrades take effect at once, everything else in the last block of the epoch. `docs/ledger.md` section 5.
"""

from dataclasses import replace

from abci_app.state import changes
from abci_app.state.challenge import parameters
from abci_app.state.committee import is_quorum, members
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import PROPOSAL_CLOSED, PROPOSAL_PENDING, UNKNOWN_PROPOSAL, TxError
from abci_app.state.state import State
from network.chain_records import (
    GOVERNANCE_KEY,
    CastVote,
    GovernanceRecord,
    PendingProposal,
    ProposalRecord,
    ProposalStatus,
    proposal_key,
)
from network.chain_tx import MAX_COMMITTEE, Propose
from network.ids import NodeId

KEPT_PROPOSALS = 1_000  # numbers back from the last one whose records stay readable


def submit(proposal: Propose, proposer: NodeId, state: State, block: BlockContext) -> list[Event]:
    """Open a proposal with its proposer's approval. Raises TxError when it could not be enacted now."""
    held = _load(state)
    if any(pending.proposer == proposer for pending in held.pending) or len(held.pending) >= MAX_COMMITTEE:
        raise TxError(PROPOSAL_PENDING, proposer.hex())
    changes.enact(proposal, state.fork(), block, block.height)
    number, closing = held.last_id + 1, block.height + parameters(state).voting_blocks
    state.save(GOVERNANCE_KEY, GovernanceRecord(number, (*held.pending, PendingProposal(number, proposer, closing))))
    votes = (CastVote(proposer, True),)
    record = ProposalRecord(number, proposer, proposal, ProposalStatus.OPEN, block.height, closing, 0, votes)
    state.save(proposal_key(number), record)
    old = number - KEPT_PROPOSALS
    if old > 0 and all(pending.id != old for pending in held.pending):
        state.delete(proposal_key(old))
    about = (("proposal", str(number)), ("validator", proposer.hex()), ("change", changes.kind_of(proposal)))
    return [Event("proposal_submitted", about), *_count(record, state, block)]


def vote(number: int, approve: bool, voter: NodeId, state: State, block: BlockContext) -> list[Event]:
    """Count a member's vote, in place of its earlier one. Raises TxError when it is too late."""
    record = state.load(ProposalRecord, proposal_key(number))
    if record is None:
        raise TxError(UNKNOWN_PROPOSAL, str(number))
    if record.status != ProposalStatus.OPEN:
        raise TxError(PROPOSAL_CLOSED, f"{number} is {ProposalStatus(record.status).name.lower()}")
    present = [validator for validator, _ in members(state)]
    cast = {entry.validator: entry for entry in record.votes if entry.validator in present}
    cast[voter] = CastVote(voter, approve)
    record = replace(record, votes=tuple(cast[validator] for validator in sorted(cast)))
    state.save(proposal_key(number), record)
    about = (("proposal", str(number)), ("validator", voter.hex()), ("approve", "yes" if approve else "no"))
    return [Event("proposal_voted", about), *_count(record, state, block)]


def end_block(state: State, block: BlockContext, epoch_ended: bool) -> list[Event]:
    """Close what has had its time, and enact what has passed if the epoch ends here."""
    events: list[Event] = []
    for pending in _load(state).pending:
        if not pending.passed and block.height >= pending.closing_height:
            events += _count(_record(state, pending.id), state, block, last=True)
    if epoch_ended:
        for pending in _load(state).pending:
            if pending.passed:
                events += _enact(_record(state, pending.id), state, block)
    return events


def _count(record: ProposalRecord, state: State, block: BlockContext, *, last: bool = False) -> list[Event]:
    """Decide the proposal if its votes do, or if this is the `last` count."""
    committee = members(state)
    powers = {bytes(validator): member.power for validator, member in committee}
    approved = sum(powers.get(entry.validator, 0) for entry in record.votes if entry.approve)
    rejected = sum(powers.get(entry.validator, 0) for entry in record.votes if not entry.approve)
    if is_quorum(approved, committee):
        record = replace(record, status=ProposalStatus.PASSED, decided_height=block.height)
        if changes.is_immediate(record.proposal):
            return [_closed(record), *_enact(record, state, block)]
        state.save(proposal_key(record.id), record)
        _mark_passed(state, record.id)
        return [_closed(record)]
    if not is_quorum(sum(powers.values()) - rejected, committee):
        return _close(replace(record, status=ProposalStatus.REJECTED, decided_height=block.height), state)
    if last:
        return _close(replace(record, status=ProposalStatus.EXPIRED, decided_height=block.height), state)
    return []


def _enact(record: ProposalRecord, state: State, block: BlockContext) -> list[Event]:
    """Make the change of a passed proposal, or record why it has become impossible."""
    fork = state.fork()
    try:
        events = changes.enact(record.proposal, fork, block, record.submitted_height)
    except TxError as error:
        return _close(replace(record, status=ProposalStatus.FAILED, reason=error.log), state)
    state.merge(fork)
    return [*_close(replace(record, status=ProposalStatus.ENACTED), state), *events]


def _close(record: ProposalRecord, state: State) -> list[Event]:
    held = _load(state)
    if record.id > held.last_id - KEPT_PROPOSALS:
        state.save(proposal_key(record.id), record)
    else:
        state.delete(proposal_key(record.id))
    remaining = tuple(pending for pending in held.pending if pending.id != record.id)
    state.save(GOVERNANCE_KEY, replace(held, pending=remaining))
    return [_closed(record)]


def _closed(record: ProposalRecord) -> Event:
    word = ProposalStatus(record.status).name.lower()
    return Event(f"proposal_{word}", (("proposal", str(record.id)), ("reason", record.reason)))


def _mark_passed(state: State, number: int) -> None:
    held = _load(state)
    entries = tuple(replace(entry, passed=True) if entry.id == number else entry for entry in held.pending)
    state.save(GOVERNANCE_KEY, replace(held, pending=entries))


def _load(state: State) -> GovernanceRecord:
    return state.load(GovernanceRecord, GOVERNANCE_KEY) or GovernanceRecord()


def _record(state: State, number: int) -> ProposalRecord:
    record = state.load(ProposalRecord, proposal_key(number))
    assert record is not None, "a pending proposal has a record"
    return record
