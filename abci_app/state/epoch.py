"""What an epoch's first and last block do: beacon, tally, reputations, archive, pruning.

The next epoch's record is written by the last block of the one before, without a beacon: that needs the hash of the
commit that decides the first block, and comes with it. Sections 1 and 5 of `docs/verification.md`.
"""

from collections.abc import Callable
from dataclasses import replace

from abci_app.state.challenge import parameters, running_epoch
from abci_app.state.committee import members
from abci_app.state.context import BlockContext, Event
from abci_app.state.reputation import accumulate, updated
from abci_app.state.state import State
from abci_app.state.tally import Committee, NodeTally, score_transcripts, tally_nodes
from network.chain_records import (
    CURRENT_EPOCH_KEY,
    KEPT_EPOCHS,
    EpochRecord,
    NodeRecord,
    NodeResult,
    Params,
    VrfRecord,
    commitment_key,
    epoch_key,
    node_key,
    opened_key,
    score_commitment_key,
    sheet_key,
    transcript_key,
    vrf_key,
)
from network.codec import decode
from network.crypto import sha256

BEACON_DOMAIN = b"planetserve/beacon/1"
KEPT_RESULTS = 10_080  # epochs whose results stay readable: a week at 60 s

CLEAN, ABNORMAL, CHEATED, ACCUMULATED, UNSCORED = "clean", "abnormal", "cheated", "accumulated", "unscored"
_EPOCH_ROWS: tuple[Callable[[int, bytes], bytes], ...] = (
    vrf_key,
    commitment_key,
    opened_key,
    transcript_key,
    score_commitment_key,
    sheet_key,
)


def init(state: State, block: BlockContext) -> None:
    """Begin epoch 0 at the chain's initial height."""
    state.save(CURRENT_EPOCH_KEY, EpochRecord(0, max(1, block.height)))


def begin_block(state: State, block: BlockContext) -> list[Event]:
    """On an epoch's first block, derive its beacon from the last one, the deciding commit and the VRF outputs."""
    epoch = running_epoch(state)
    if epoch.beacon:
        return []
    previous = state.load(EpochRecord, epoch_key(epoch.number - 1)) if epoch.number else None
    last_beacon = previous.beacon if previous is not None else sha256(block.chain_id.encode())
    outputs = _vrf_outputs(state, epoch.number - 1) if epoch.number else b""
    beacon = sha256(BEACON_DOMAIN, last_beacon, sha256(block.last_commit_hash), sha256(outputs))
    state.save(CURRENT_EPOCH_KEY, replace(epoch, beacon=beacon))
    return [Event("epoch_begun", (("epoch", str(epoch.number)), ("beacon", beacon.hex())))]


def end_block(state: State, block: BlockContext) -> list[Event]:
    """On an epoch's last block, turn scores into reputations, archive the epoch, and open the next."""
    epoch, params = running_epoch(state), parameters(state)
    if block.height - epoch.first_height + 1 < params.epoch_blocks:
        return []
    score_transcripts(state, epoch.number)
    committee = members(state)
    tallies = tally_nodes(state, epoch.number, params)
    results = [_judge(state, node, tallies[node], committee, params) for node in sorted(tallies)]
    state.save(epoch_key(epoch.number), replace(epoch, ended_height=block.height, results=tuple(results)))
    state.save(CURRENT_EPOCH_KEY, EpochRecord(epoch.number + 1, block.height + 1))
    _prune(state, epoch.number)
    scored = sum(result.scored for result in results)
    ended = Event("epoch_ended", (("epoch", str(epoch.number)), ("nodes", str(len(results))), ("scored", str(scored))))
    return [ended, *(_changed(epoch.number, result) for result in results)]


def _judge(state: State, node_id: bytes, tally: NodeTally, committee: Committee, params: Params) -> NodeResult:
    """Update one node's record; without a scored reply it stays as it was."""
    node = state.load(NodeRecord, node_key(node_id))
    assert node is not None, "challenges and replies name registered nodes only"
    suspected, tally.accumulated = accumulate(node.suspicion, tally.evidence, params)
    credit = tally.credit(committee)
    after = node if credit is None else replace(updated(node, credit, params), suspicion=suspected)
    if after != node:
        state.save(node_key(node_id), after)
    return NodeResult(
        node_id,
        tally.challenges,
        len(tally.credits),
        tally.missing(committee),
        credit or 0,
        node.reputation,
        after.reputation,
        after.trusted,
        _reason(tally, credit, params),
    )


def _reason(tally: NodeTally, credit: int | None, params: Params) -> str:
    if credit is None:
        return UNSCORED
    if tally.cheated:
        return CHEATED
    if tally.accumulated:
        return ACCUMULATED
    return CLEAN if credit >= params.tau else ABNORMAL


def _changed(epoch: int, result: NodeResult) -> Event:
    return Event(
        "reputation",
        (
            ("epoch", str(epoch)),
            ("node", result.node_id.hex()),
            ("before", str(result.reputation_before)),
            ("after", str(result.reputation_after)),
            ("reason", result.reason),
        ),
    )


def _vrf_outputs(state: State, epoch: int) -> bytes:
    """The outputs proven in an epoch, in validator-id order."""
    return b"".join(decode(VrfRecord, value).output for _, value in state.scan(vrf_key(epoch, b"")))


def _prune(state: State, ended: int) -> None:
    """Drop what is too old to be read: one epoch's rows per epoch, so the work is bounded by an epoch's."""
    old = ended - KEPT_EPOCHS
    if old >= 0:
        for rows in _EPOCH_ROWS:
            for key, _ in list(state.scan(rows(old, b""))):
                state.delete(key)
    if ended >= KEPT_RESULTS:
        state.delete(epoch_key(ended - KEPT_RESULTS))
