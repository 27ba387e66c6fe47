"""Which transactions a proposal takes, and in which order: what PrepareProposal decides.

The committee's come first, so that no flood can starve an epoch; then those of registered nodes, then strangers', each in
the mempool's order. Nothing that a block could only refuse is taken: an envelope that does not open, a nonce that is used
or comes twice, more registrations than a block takes. A signer whose transaction does not fit is left out from there on,
so that its nonces stay in order.
"""

from collections.abc import Iterable

from abci_app.state.challenge import parameters
from abci_app.state.committee import members
from abci_app.state.envelope import require_nonce
from abci_app.state.errors import TxError
from abci_app.state.state import State
from network.chain_records import node_key
from network.chain_tx import SignedTx
from network.ids import node_id

COMMITTEE, REGISTERED, STRANGER = range(3)


def choose(opened: Iterable[tuple[bytes, SignedTx]], state: State, max_bytes: int) -> list[bytes]:
    """The proposal out of opened transactions with their bytes, of `max_bytes` at most as CometBFT counts them."""
    committee = {record.verifier_key for _, record in members(state)}
    classes: dict[bytes, int] = {}
    queues: tuple[list[tuple[bytes, SignedTx]], ...] = ([], [], [])
    for raw, tx in opened:
        rank = classes.get(tx.signer)
        if rank is None:
            rank = classes[tx.signer] = _rank(tx.signer, committee, state)
        queues[rank].append((raw, tx))
    chosen: list[bytes] = []
    nonces: dict[bytes, int] = {}
    left_out: set[bytes] = set()
    strangers = queues[STRANGER]
    if strangers:  # they can do nothing but register
        del strangers[parameters(state).registrations_per_block :]
    for raw, tx in (entry for queue in queues for entry in queue):
        if tx.signer in left_out or tx.nonce <= nonces.get(tx.signer, 0) or _is_stale(tx, state):
            continue
        size = proto_size(raw)
        if size > max_bytes:
            left_out.add(tx.signer)
            continue
        max_bytes -= size
        nonces[tx.signer] = tx.nonce
        chosen.append(raw)
    return chosen


def proto_size(raw: bytes) -> int:
    """What CometBFT counts for a transaction in a block: its bytes, a tag and their length."""
    return len(raw) + 1 + max(1, (len(raw).bit_length() + 6) // 7)


def _rank(signer: bytes, committee: set[bytes], state: State) -> int:
    if signer in committee:
        return COMMITTEE
    return REGISTERED if state.get(node_key(node_id(signer))) is not None else STRANGER


def _is_stale(tx: SignedTx, state: State) -> bool:
    try:
        require_nonce(tx, state)
    except TxError:
        return True
    return False
