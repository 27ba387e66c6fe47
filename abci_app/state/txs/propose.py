"""Propose: a committee member puts one change to the vote, and approves of it."""

from abci_app.state import changes, governance
from abci_app.state.committee import validator_of
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import BAD_FIELD, TxError
from abci_app.state.state import State
from network.chain_tx import Propose
from network.codec import Message


def check_stateless(body: Message) -> None:
    """A title of printable characters, and one change of the right shape."""
    assert isinstance(body, Propose)
    if not body.title or not all(" " <= character < "\x7f" or character > "\x9f" for character in body.title):
        raise TxError(BAD_FIELD, "title: 1 to 128 bytes without control characters")
    changes.check_stateless(body)


def check_and_execute(body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
    """The signer is a member without a pending proposal, and the change could be made now."""
    assert isinstance(body, Propose)
    return governance.submit(body, validator_of(signer, state), state, block)
