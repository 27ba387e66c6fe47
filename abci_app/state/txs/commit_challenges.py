"""CommitChallenges: a verifier fixes its challenges before it sends them. Always the same number, padded with dummies."""

from abci_app.state.challenge import parameters, require_window, running_epoch
from abci_app.state.committee import validator_of
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import BAD_FIELD, DUPLICATE, TxError
from abci_app.state.state import State
from network.chain_records import commitment_key
from network.chain_tx import CommitChallenges
from network.codec import Message


def check_stateless(body: Message) -> None:
    """No commitment is given twice."""
    assert isinstance(body, CommitChallenges)
    if not body.commitments or len(dict.fromkeys(body.commitments)) != len(body.commitments):
        raise TxError(BAD_FIELD, "commitments must be distinct, and at least one")


def check_and_execute(body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
    """The first commitment of this verifier in the epoch, of exactly the chain's number of slots."""
    assert isinstance(body, CommitChallenges)
    epoch, params = running_epoch(state), parameters(state)
    validator = validator_of(signer, state)
    require_window(body.epoch, 0, params.commit_end, epoch, block.height)
    if len(body.commitments) != params.slots:
        raise TxError(BAD_FIELD, f"{len(body.commitments)} commitments instead of {params.slots}")
    key = commitment_key(epoch.number, validator)
    if state.get(key) is not None:
        raise TxError(DUPLICATE, validator.hex())
    state.save(key, body)
    return [Event("challenges_committed", (("epoch", str(epoch.number)), ("validator", validator.hex())))]
