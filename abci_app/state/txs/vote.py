"""Vote: a committee member approves or rejects an open proposal. Until it is decided, the member's last vote counts."""

from abci_app.state import governance
from abci_app.state.committee import validator_of
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import BAD_FIELD, TxError
from abci_app.state.state import State
from network.chain_tx import Vote
from network.codec import Message


def check_stateless(body: Message) -> None:
    """It names a proposal."""
    assert isinstance(body, Vote)
    if not body.proposal:
        raise TxError(BAD_FIELD, "proposal")


def check_and_execute(body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
    """The signer is a member, and the proposal is open."""
    assert isinstance(body, Vote)
    return governance.vote(body.proposal, body.approve, validator_of(signer, state), state, block)
