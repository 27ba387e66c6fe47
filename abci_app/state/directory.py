"""The directory: when the canonical list of live nodes is written, and who is on it.

Written at every epoch's end, and between epochs at heights divisible by `params.directory_blocks` when membership has
changed since. `Membership` remembers that between blocks, and how many nodes are live, so that neither a registration nor
an idle block has to look at every node.
"""

from dataclasses import dataclass, replace

from abci_app.state.challenge import parameters, running_epoch
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import DIRECTORY_FULL, TxError
from abci_app.state.state import State
from network.chain_records import (
    DIRECTORY_KEY,
    NODE_PREFIX,
    DirectoryEntry,
    DirectoryRecord,
    EpochRecord,
    NodeRecord,
    Params,
)
from network.codec import Message, decode, flag, uint
from network.crypto import sha256

MEMBERSHIP_KEY = b"\x0fmembership"  # -> Membership


@dataclass(frozen=True, slots=True)
class Membership(Message):
    """Live nodes counted, and whether the directory is out of date. Absent until the first registration."""

    live: int = uint(1)
    changed: bool = flag(2)


def is_live(node: NodeRecord, epoch: EpochRecord, params: Params) -> bool:
    """Neither retired nor silent for more than `lifetime_epochs`."""
    return not node.retired and epoch.number - node.renewed_epoch <= params.lifetime_epochs


def admit(state: State) -> None:
    """One more node is live. Raises TxError when the directory has no room."""
    held = _membership(state)
    if held.live >= parameters(state).max_nodes:
        raise TxError(DIRECTORY_FULL, f"{held.live} nodes are live")
    state.save(MEMBERSHIP_KEY, Membership(held.live + 1, True))


def mark_changed(state: State) -> None:
    """What the directory says about some node is out of date."""
    state.save(MEMBERSHIP_KEY, replace(_membership(state), changed=True))


def end_block(state: State, block: BlockContext, epoch_ended: bool) -> list[Event]:
    """Write the directory where this block is due to."""
    due = block.height % parameters(state).directory_blocks == 0
    if not epoch_ended and not (due and _membership(state).changed):
        return []
    entries = live_entries(state)
    held = state.get(DIRECTORY_KEY)
    record = DirectoryRecord(
        block.chain_id, running_epoch(state).number, block.height, sha256(held) if held is not None else b"", entries
    )
    state.save(DIRECTORY_KEY, record)
    _save_membership(state, Membership(len(entries), False))
    return [Event("directory_written", (("epoch", str(record.epoch)), ("nodes", str(len(entries)))))]


def live_entries(state: State) -> tuple[DirectoryEntry, ...]:
    """Every live node in node-id order, as the directory lists it."""
    epoch, params = running_epoch(state), parameters(state)
    entries: list[DirectoryEntry] = []
    for key, value in state.scan(NODE_PREFIX):
        node = decode(NodeRecord, value)
        if is_live(node, epoch, params):
            entries.append(_entry(key[len(NODE_PREFIX) :], node))
    return tuple(entries)


def _entry(node_id: bytes, node: NodeRecord) -> DirectoryEntry:
    return DirectoryEntry(
        node_id,
        node.signing_key,
        node.onion_key,
        node.role,
        node.name,
        node.address,
        node.family,
        node.group,
        node.model_hash,
        node.reputation,
        node.trusted,
        node.hybrid_key,
    )


def _membership(state: State) -> Membership:
    return state.load(Membership, MEMBERSHIP_KEY) or Membership()


def _save_membership(state: State, membership: Membership) -> None:
    if membership == Membership():
        state.delete(MEMBERSHIP_KEY)  # its encoding would be empty, which a row must not be
    else:
        state.save(MEMBERSHIP_KEY, membership)
