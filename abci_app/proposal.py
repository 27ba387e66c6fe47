"""Which transactions a proposal takes, and in which order: what PrepareProposal decides.

The committee's come first, so that no flood can starve an epoch; then those of registered nodes, then strangers', each in
the mempool's order. Nothing that a block could only refuse is taken: an envelope that does not open, a nonce that is used
or comes twice, more registrations than a block takes. A signer whose transaction does not fit is left out from there on,
so that its nonces stay in order.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from abci_app.state.admission import Rules, admit, rules, tokens
from abci_app.state.errors import TxError
from abci_app.state.state import State
from network.chain_records import account_key
from network.chain_tx import SignedTx

COMMITTEE, REGISTERED, STRANGER = range(3)


def choose(opened: Iterable[tuple[bytes, SignedTx]], state: State, max_bytes: int) -> list[bytes]:
    """The proposal out of opened transactions with their bytes, of `max_bytes` at most as CometBFT counts them."""
    by = rules(state)
    classes: dict[bytes, int] = {}
    queues: tuple[list[tuple[bytes, SignedTx]], ...] = ([], [], [])
    for raw, tx in opened:
        rank = classes.get(tx.signer)
        if rank is None:
            rank = classes[tx.signer] = _rank(tx.signer, by, state)
        queues[rank].append((raw, tx))
    chosen: list[bytes] = []
    signers: dict[bytes, _Signer] = {}
    places = by.params.registrations_per_block
    for raw, tx in (entry for queue in queues for entry in queue):
        signer = signers.get(tx.signer) or _Signer()
        first = signer.nonce == 0
        if classes[tx.signer] == STRANGER and not (first and places):  # they can do nothing but register, once
            continue
        if signer.left_out or tx.nonce <= signer.nonce or not _admitted(raw, tx, state, by, signer.tokens):
            continue
        size = proto_size(raw)
        if size > max_bytes:
            signers[tx.signer] = replace(signer, left_out=True)
            continue
        max_bytes -= size
        places -= classes[tx.signer] == STRANGER
        signers[tx.signer] = _Signer(tx.nonce, signer.tokens + tokens(len(raw)))
        chosen.append(raw)
    return chosen


@dataclass(frozen=True, slots=True)
class _Signer:
    """What the proposal holds of one signer: its last nonce and its tokens, and whether something did not fit."""

    nonce: int = 0
    tokens: int = 0
    left_out: bool = False


def proto_size(raw: bytes) -> int:
    """What CometBFT counts for a transaction in a block: its bytes, a tag and their length."""
    return len(raw) + 1 + max(1, (len(raw).bit_length() + 6) // 7)


def _rank(signer: bytes, by: Rules, state: State) -> int:
    if signer in by.verifiers:
        return COMMITTEE
    return REGISTERED if state.get(account_key(signer)) is not None else STRANGER


def _admitted(raw: bytes, tx: SignedTx, state: State, by: Rules, waiting: int) -> bool:
    try:
        admit(tx, len(raw), state, by, waiting)
    except TxError:
        return False
    return True
