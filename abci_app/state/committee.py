"""The committee as the verification transactions see it: who a signer is, and how much power agrees.

A committee member signs verification transactions with its verifier key; the ledger names it by its validator id.
"""

from abci_app.state.context import ValidatorUpdate
from abci_app.state.errors import NOT_A_VERIFIER, TxError
from abci_app.state.state import State
from network.chain_records import VALIDATOR_PREFIX, ValidatorRecord
from network.codec import decode
from network.ids import NodeId


def members(state: State) -> list[tuple[NodeId, ValidatorRecord]]:
    """Every committee member with power, in validator-id order."""
    rows = state.scan(VALIDATOR_PREFIX)
    found = [(NodeId(key[len(VALIDATOR_PREFIX) :]), decode(ValidatorRecord, value)) for key, value in rows]
    return [(validator, record) for validator, record in found if record.power > 0]


def validator_of(signer: bytes, state: State) -> NodeId:
    """The validator id of the member whose verifier key signed. Raises TxError when there is none."""
    for validator, record in members(state):
        if record.verifier_key == signer:
            return validator
    raise TxError(NOT_A_VERIFIER, signer.hex())


def faulty(committee: list[tuple[NodeId, ValidatorRecord]]) -> int:
    """f: how many members may be faulty, floor((n - 1) / 3)."""
    return max(0, len(committee) - 1) // 3


def is_quorum(power: int, committee: list[tuple[NodeId, ValidatorRecord]]) -> bool:
    """Whether `power` is more than two thirds of the committee's."""
    return 3 * power > 2 * sum(record.power for _, record in committee)


def updates(before: State, after: State) -> tuple[ValidatorUpdate, ...]:
    """What CometBFT must change in its validator set, in validator-id order.

    A comparison of two states names no key twice and removes none that is not there, which CometBFT would not survive.
    """
    held = {record.consensus_key: record.power for _, record in members(before)}
    now = {record.consensus_key: record.power for _, record in members(after)}
    changed = [ValidatorUpdate(key, power) for key, power in now.items() if held.get(key) != power]
    return (*changed, *(ValidatorUpdate(key, 0) for key in held if key not in now))
