"""Proven misbehavior: a validator that CometBFT's evidence convicts loses its power, once, until the committee votes it in.

Infractions from before a member joined, and further ones of a member that is jailed already, change nothing. The last
member with power keeps it, since a chain without validators could not go on; the event says so.
"""

from dataclasses import replace

from abci_app.state.challenge import parameters
from abci_app.state.committee import members
from abci_app.state.context import BlockContext, Event, Misbehavior
from abci_app.state.state import State
from network.chain_records import EVIDENCE_PREFIX, EvidenceRecord, ValidatorRecord, evidence_key, validator_key
from network.codec import decode
from network.ids import NodeId

KINDS = {1: "duplicate_vote", 2: "light_client_attack"}


def begin_block(state: State, block: BlockContext) -> list[Event]:
    """Punish what this block's evidence proves, in order of height, address and kind."""
    found = sorted(block.misbehavior, key=lambda case: (case.height, case.address, case.kind))
    return [event for case in found if case.kind in KINDS for event in _punish(state, case, block)]


def end_block(state: State, block: BlockContext, epoch_ended: bool) -> list[Event]:
    """At an epoch's end, forget punishments older than `evidence_blocks`: `joined` keeps old infractions harmless."""
    if epoch_ended:
        oldest = block.height - parameters(state).evidence_blocks
        for key, value in list(state.scan(EVIDENCE_PREFIX)):
            if decode(EvidenceRecord, value).punished_height < oldest:
                state.delete(key)
    return []


def _punish(state: State, case: Misbehavior, block: BlockContext) -> list[Event]:
    record = state.load(ValidatorRecord, validator_key(case.address))
    key = evidence_key(case.height, case.address, case.kind)
    if record is None or record.jailed or case.height < record.joined or state.get(key) is not None:
        return []
    state.save(key, EvidenceRecord(NodeId(case.address), case.kind, case.height, block.height))
    last = [validator for validator, _ in members(state)] == [case.address]
    if not last:
        state.save(validator_key(case.address), replace(record, power=0, jailed=True, jailed_height=block.height))
    about = (("validator", case.address.hex()), ("kind", KINDS[case.kind]), ("height", str(case.height)))
    return [Event("misbehavior_unpunished" if last else "validator_jailed", about)]
