"""Who challenges whom in an epoch, and when: assignment, nonces, windows.

Two VRF inputs per epoch. The first is proven at once and makes the leader and the next beacon; the second selects the
(node, slot) pairs a verifier owns and stays secret until it opens its challenges, so that no model node can tell a
challenge from a prompt by its nonce. Section 2 of `docs/verification.md`.
"""

from abci_app.state.errors import WINDOW_CLOSED, WRONG_EPOCH, TxError
from abci_app.state.state import State
from network.chain_records import CURRENT_EPOCH_KEY, PARAMS_KEY, UNIT, EpochRecord, NodeRecord, Params
from network.crypto import sha256
from network.ids import Role

# Slots per model node that each verifier's output may select. A second slot would cost scoring time and add no author.
SLOTS_PER_NODE = 1
MAX_CHALLENGE_TOKENS = 128  # bounds what one challenge can make every verifier compute
LEADER_DOMAIN = b"planetserve/vrf-leader/1"
ASSIGNMENT_DOMAIN = b"planetserve/vrf-assignment/1"
SELECTION_DOMAIN = b"planetserve/assignment/1"
NONCE_DOMAIN = b"planetserve/challenge-nonce/1"


def leader_input(beacon: bytes) -> bytes:
    """The VRF input whose lowest output leads the epoch."""
    return LEADER_DOMAIN + beacon


def assignment_input(beacon: bytes) -> bytes:
    """The VRF input whose output selects a verifier's challenges."""
    return ASSIGNMENT_DOMAIN + beacon


def selection(output: bytes, node_id: bytes, slot: int) -> int:
    """The 64-bit number that decides whether the holder of `output` owns this pair: lower is surer."""
    return int.from_bytes(sha256(SELECTION_DOMAIN, output, node_id, bytes((slot,)))[:8], "big")


def owns(output: bytes, node_id: bytes, slot: int, params: Params) -> bool:
    """Whether the assignment output selects the pair: selection < floor(2^64 * assignment / UNIT)."""
    return slot < SLOTS_PER_NODE and selection(output, node_id, slot) < (params.assignment << 64) // UNIT


def challenge_nonce(output: bytes, node_id: bytes, slot: int) -> bytes:
    """The request nonce of an owned pair: the author cannot choose it, so it cannot search for an unlucky seed."""
    return sha256(NONCE_DOMAIN, output, node_id, bytes((slot,)))


def may_be_challenged(node: NodeRecord, epoch: EpochRecord) -> bool:
    """Model nodes, trusted or not, that were registered before the epoch began.

    Whether the node is still live is for the challenger to ask: were it a condition here, a node that retires in the
    send window would void its author's whole opening.
    """
    return node.role == Role.MODEL and node.registered_height < epoch.first_height


def parameters(state: State) -> Params:
    """The chain's parameters; genesis wrote them."""
    params = state.load(Params, PARAMS_KEY)
    assert params is not None
    return params


def running_epoch(state: State) -> EpochRecord:
    """The epoch in progress; `epoch.init` wrote the first."""
    epoch = state.load(EpochRecord, CURRENT_EPOCH_KEY)
    assert epoch is not None
    return epoch


def require_window(number: int, start: int, end: int, epoch: EpochRecord, height: int) -> None:
    """Raises TxError unless `number` is the running epoch and start <= height - first height < end."""
    if number != epoch.number:
        raise TxError(WRONG_EPOCH, f"{number} instead of {epoch.number}")
    offset = height - epoch.first_height
    if not start <= offset < end:
        raise TxError(WINDOW_CLOSED, f"block {offset} of the epoch is not in {start}..{end - 1}")
