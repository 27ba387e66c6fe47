"""RetireNode: the signer's node leaves the directory for good; its record and reputation stay."""

from dataclasses import replace

from abci_app.state import directory
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import NODE_RETIRED, UNKNOWN_NODE, TxError
from abci_app.state.state import State
from network.chain_records import NodeRecord, node_key
from network.chain_tx import RetireNode
from network.codec import Message
from network.ids import node_id


def check_stateless(body: Message) -> None:
    """It has no fields."""
    assert isinstance(body, RetireNode)


def check_and_execute(body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
    """The node exists and has not retired before."""
    identifier = node_id(signer)
    held = state.load(NodeRecord, node_key(identifier))
    if held is None:
        raise TxError(UNKNOWN_NODE, identifier.hex())
    if held.retired:
        raise TxError(NODE_RETIRED, identifier.hex())
    state.save(node_key(identifier), replace(held, retired=True))
    directory.mark_changed(state)
    return [Event("node_retired", (("node", identifier.hex()),))]
