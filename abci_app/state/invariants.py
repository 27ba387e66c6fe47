"""What holds in every state between two blocks, whatever the transactions were: asked by the simulator after each step.

`docs/ledger.md` section 8 lists the invariants. `check` reads every row once, so it is for tests and for an operator's full
check, not for a running chain.
"""

from collections.abc import Callable, Iterator

from abci_app.state.challenge import parameters, running_epoch
from abci_app.state.context import ValidatorUpdate
from abci_app.state.directory import MEMBERSHIP_KEY, Membership
from abci_app.state.genesis import MAX_GROUPS
from abci_app.state.params import validate
from abci_app.state.state import Reader, State
from abci_app.state.upgrade import planned, version
from network.chain_params import UNIT
from network.chain_records import (
    DIRECTORY_KEY,
    EVIDENCE_PREFIX,
    GOVERNANCE_KEY,
    GROUP_PREFIX,
    NODE_PREFIX,
    PROPOSAL_PREFIX,
    VALIDATOR_PREFIX,
    Account,
    DirectoryRecord,
    EpochRecord,
    EvidenceRecord,
    GovernanceRecord,
    ModelGroup,
    NodeRecord,
    ProposalRecord,
    ProposalStatus,
    ValidatorRecord,
    node_key,
)
from network.chain_tx import MAX_COMMITTEE, MAX_POWER
from network.codec import decode
from network.errors import ConfigError
from network.ids import NodeId, node_id

ACCOUNT_PREFIX, ENDED_PREFIX = b"\x01", b"\x05"


def check(reader: Reader) -> list[str]:
    """Every invariant that the state breaks, in words; none for a sound one."""
    state = State(reader)
    return [fault for invariant in _INVARIANTS for fault in invariant(state)]


def powers(reader: Reader) -> dict[bytes, int]:
    """Consensus key -> power: what CometBFT's validator set must be once every update has reached it."""
    rows = (decode(ValidatorRecord, value) for _, value in reader.scan(VALIDATOR_PREFIX))
    return {record.consensus_key: record.power for record in rows if record.power}


def updated(held: dict[bytes, int], updates: tuple[ValidatorUpdate, ...]) -> dict[bytes, int]:
    """A validator set after updates as CometBFT takes them. Raises ValueError for updates that would stop it."""
    keys = [update.consensus_key for update in updates]
    if len(dict.fromkeys(keys)) != len(keys):
        raise ValueError("a key is updated twice")
    after = dict(held)
    for update in updates:
        if update.power == 0 and update.consensus_key not in held:
            raise ValueError("a validator that is not there is removed")
        after[update.consensus_key] = update.power
    after = {key: power for key, power in after.items() if power}
    if not after or sum(held.values()) + sum(after.values()) > 2**60:
        raise ValueError("the set is empty, or its power more than CometBFT takes")
    return after


def _parameters(state: State) -> Iterator[str]:
    try:
        validate(parameters(state))
    except ConfigError as error:
        yield str(error)


def _committee(state: State) -> Iterator[str]:
    records = [(key[1:], decode(ValidatorRecord, value)) for key, value in state.scan(VALIDATOR_PREFIX)]
    if not any(record.power for _, record in records) or len(records) > MAX_COMMITTEE:
        yield f"{len(records)} committee members, none with power or more than {MAX_COMMITTEE}"
    keys = [record.verifier_key for _, record in records]
    if len(dict.fromkeys(keys)) != len(keys):
        yield "two members share a verifier key"
    for validator, record in records:
        if validator != node_id(record.consensus_key) or record.power > MAX_POWER or (record.jailed and record.power):
            yield f"validator {validator.hex()}: another key's address, too much power, or jailed with power"


def _nodes(state: State) -> Iterator[str]:
    for key, value in state.scan(NODE_PREFIX):
        node = decode(NodeRecord, value)
        if key != node_key(node_id(node.signing_key)):
            yield f"node {key[1:].hex()} has another key's id"
        if not 0 <= node.reputation <= UNIT or any(credit > UNIT for credit in node.credits):
            yield f"node {key[1:].hex()}: reputation {node.reputation} or credits outside 0..1"


def _membership(state: State) -> Iterator[str]:
    """`live` counts the nodes of the directory as it was last written, and what has come since."""
    held = state.load(Membership, MEMBERSHIP_KEY) or Membership()
    nodes = {key[1:]: decode(NodeRecord, value) for key, value in state.scan(NODE_PREFIX)}
    directory = state.load(DirectoryRecord, DIRECTORY_KEY)
    entries = directory.entries if directory is not None else ()
    names = [entry.node_id for entry in entries]
    if names != sorted(dict.fromkeys(names)):
        yield "the directory is not in ascending order of node ids"
    if any(name not in nodes for name in names):
        yield "the directory lists a node that is not registered"
    if held.live > len(nodes):
        yield f"{held.live} nodes counted as live, {len(nodes)} registered"
    if not held.changed and held.live != len(names):
        yield f"{held.live} nodes counted as live, {len(names)} in a directory that is up to date"


def _accounts(state: State) -> Iterator[str]:
    epoch = running_epoch(state).number
    for key, value in state.scan(ACCOUNT_PREFIX):
        account = decode(Account, value)
        if not account.verifier and state.get(node_key(node_id(key[1:]))) is None:
            yield f"account {key[1:].hex()} of a signer that has no node and was no verifier"
        if account.epoch > epoch:
            yield f"account {key[1:].hex()} has spent in epoch {account.epoch}, {epoch} is running"


def _epochs(state: State) -> Iterator[str]:
    running = running_epoch(state)
    for key, value in state.scan(ENDED_PREFIX):
        ended = decode(EpochRecord, value)
        if int.from_bytes(key[1:], "big") != ended.number or ended.number >= running.number or not ended.ended_height:
            yield f"epoch record {key[1:].hex()} is of another epoch, or has not ended"


def _governance(state: State) -> Iterator[str]:
    held = state.load(GovernanceRecord, GOVERNANCE_KEY) or GovernanceRecord()
    pending = {entry.id: entry for entry in held.pending}
    proposers = [entry.proposer for entry in held.pending]
    if list(pending) != sorted(pending) or len(dict.fromkeys(proposers)) != len(proposers):
        yield "pending proposals out of order, or two of one member"
    waiting = {True: ProposalStatus.PASSED, False: ProposalStatus.OPEN}
    for key, value in state.scan(PROPOSAL_PREFIX):
        record = decode(ProposalRecord, value)
        entry = pending.pop(record.id, None)
        known = int.from_bytes(key[1:], "big") == record.id <= held.last_id
        right = record.status == waiting[entry.passed] if entry is not None else record.status not in waiting.values()
        if not known or not right:
            yield f"proposal {record.id} stands otherwise than the list of pending ones says"
        if [vote.validator for vote in record.votes] != sorted({vote.validator: None for vote in record.votes}):
            yield f"proposal {record.id} counts a member twice, or its votes are out of order"
    if pending:
        yield f"pending proposals without a record: {sorted(pending)}"


def _upgrades(state: State) -> Iterator[str]:
    plan, running = planned(state), version(state)
    if plan is not None and plan.app_version <= running.app_version:
        yield f"upgrade {plan.name} leads to version {plan.app_version}, {running.app_version} is running"


def _rest(state: State) -> Iterator[str]:
    groups = [(key, decode(ModelGroup, value)) for key, value in state.scan(GROUP_PREFIX)]
    if len(groups) > MAX_GROUPS or any(key[1:] != group.name.encode() for key, group in groups):
        yield "too many model groups, or one under another's name"
    for key, value in state.scan(EVIDENCE_PREFIX):
        record = decode(EvidenceRecord, value)
        if key[9:29] != NodeId(record.validator) or record.punished_height < record.infraction_height:
            yield f"evidence {key[1:].hex()} is of another validator, or older than its infraction"


_INVARIANTS: tuple[Callable[[State], Iterator[str]], ...] = (
    _parameters,
    _committee,
    _nodes,
    _membership,
    _accounts,
    _epochs,
    _governance,
    _upgrades,
    _rest,
)
