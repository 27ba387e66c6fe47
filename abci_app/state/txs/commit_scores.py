"""CommitScores: a verifier fixes its scores before it can see another's."""

from abci_app.state.challenge import parameters, require_window, running_epoch
from abci_app.state.committee import validator_of
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import BAD_FIELD, DUPLICATE, TxError
from abci_app.state.state import State
from network.chain_records import score_commitment_key
from network.chain_tx import CommitScores
from network.codec import Message


def check_stateless(body: Message) -> None:
    """A commitment is there."""
    assert isinstance(body, CommitScores)
    if not body.commitment:
        raise TxError(BAD_FIELD, "commitment")


def check_and_execute(body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
    """The first score commitment of this verifier in the epoch."""
    assert isinstance(body, CommitScores)
    epoch, params = running_epoch(state), parameters(state)
    validator = validator_of(signer, state)
    require_window(body.epoch, params.publish_end, params.score_end, epoch, block.height)
    key = score_commitment_key(epoch.number, validator)
    if state.get(key) is not None:
        raise TxError(DUPLICATE, validator.hex())
    state.save(key, body)
    return [Event("scores_committed", (("epoch", str(epoch.number)), ("validator", validator.hex())))]
