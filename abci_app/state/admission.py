"""Who may send a transaction, and how many: what keeps floods out where nothing costs money.

A signer is known once it has an account: its node registered, or the committee's verifier acted. Strangers may register, for
a solved puzzle, and leave no row unless they succeed. Known signers have a quota of tokens per epoch, a transaction costing
one and one more per started KiB beyond the first; verifiers have a larger one. `docs/ledger.md` section 4.
"""

from dataclasses import dataclass

from abci_app.state.challenge import parameters, running_epoch
from abci_app.state.committee import members
from abci_app.state.errors import QUOTA_EXCEEDED, STALE_NONCE, UNKNOWN_SIGNER, TxError
from abci_app.state.state import State
from network.chain_params import Params
from network.chain_records import Account, account_key
from network.chain_tx import SignedTx, TxKind
from network.ids import NodeId

TOKEN_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Rules:
    """What admission goes by; the same for every transaction of a block."""

    epoch: int
    params: Params
    verifiers: dict[bytes, NodeId]


def rules(state: State) -> Rules:
    """The rules of the next block, or of the running one once its first hooks are done."""
    verifiers = {record.verifier_key: validator for validator, record in members(state)}
    return Rules(running_epoch(state).number, parameters(state), verifiers)


def tokens(size: int) -> int:
    """What a transaction of `size` bytes costs."""
    return 1 + (size - 1) // TOKEN_BYTES


def admit(tx: SignedTx, size: int, state: State, by: Rules, waiting: int = 0) -> tuple[Account, bool]:
    """The signer's account as this transaction leaves it, and whether the signer was known before.

    `waiting` are tokens of the signer's transactions that are admitted but in no block yet. Raises TxError.
    """
    held = state.load(Account, account_key(tx.signer))
    last = held.nonce if held is not None else 0
    if tx.nonce <= last:
        raise TxError(STALE_NONCE, f"{tx.nonce} after {last}")
    verifier = tx.signer in by.verifiers
    if held is None and not verifier and tx.kind != TxKind.REGISTER_NODE:
        raise TxError(UNKNOWN_SIGNER, tx.signer.hex())
    quota = by.params.verifier_quota if verifier else by.params.tx_quota
    spent = tokens(size) + (held.spent if held is not None and held.epoch == by.epoch else 0)
    if spent + waiting > quota:
        raise TxError(QUOTA_EXCEEDED, f"{spent + waiting} of {quota} tokens; more in epoch {by.epoch + 1}")
    known = held is not None or verifier
    return Account(tx.nonce, by.epoch, spent, verifier or (held is not None and held.verifier)), known
