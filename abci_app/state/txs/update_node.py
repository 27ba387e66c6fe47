"""UpdateNode: the signer's node is alive, and perhaps reachable under another address or onion key."""

from dataclasses import replace

from abci_app.state import directory
from abci_app.state.challenge import parameters, running_epoch
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import BAD_FIELD, NODE_RETIRED, UNKNOWN_NODE, TxError
from abci_app.state.state import State
from abci_app.state.txs.register_node import require_address, require_hybrid_key, require_onion_key
from network.chain_records import NodeRecord, node_key
from network.chain_tx import UpdateNode
from network.codec import Message
from network.ids import Role, node_id


def check_stateless(body: Message) -> None:
    """What it replaces is of the right shape."""
    assert isinstance(body, UpdateNode)
    if body.address:
        require_address(body.address)
    if body.onion_key:
        require_onion_key(body.onion_key)
    if body.hybrid_key:
        require_hybrid_key(body.hybrid_key)


def check_and_execute(body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
    """The node exists and has not retired; a node that had expired needs room in the directory again."""
    assert isinstance(body, UpdateNode)
    identifier = node_id(signer)
    held = state.load(NodeRecord, node_key(identifier))
    if held is None:
        raise TxError(UNKNOWN_NODE, identifier.hex())
    if held.retired:
        raise TxError(NODE_RETIRED, identifier.hex())
    if body.address and held.role == Role.USER:
        raise TxError(BAD_FIELD, "a user node has no address: nobody connects to it")
    if body.hybrid_key and held.role != Role.MODEL:
        raise TxError(BAD_FIELD, "only a model node names a hybrid key")
    epoch = running_epoch(state)
    done = Event("node_updated", (("node", identifier.hex()), ("epoch", str(epoch.number))))
    if _is_as_held(body, held, epoch.number):
        return [done]
    updated = replace(
        held,
        renewed_epoch=epoch.number,
        address=body.address or held.address,
        onion_key=body.onion_key or held.onion_key,
        hybrid_key=body.hybrid_key or held.hybrid_key,
    )
    if not directory.is_live(held, epoch, parameters(state)):
        directory.admit(state)
    elif _reached(updated) != _reached(held):
        directory.mark_changed(state)
    state.save(node_key(identifier), updated)
    return [done]


def _is_as_held(body: UpdateNode, held: NodeRecord, epoch: int) -> bool:
    """Whether the node has said so in this epoch already, which most renewals under load have: nothing to write."""
    said = zip((body.address, body.onion_key, body.hybrid_key), _reached(held), strict=True)
    return held.renewed_epoch == epoch and all(not new or new == old for new, old in said)


def _reached(node: NodeRecord) -> tuple[str, bytes, bytes]:
    """What the directory says about reaching a node, as far as an update may change it."""
    return node.address, node.onion_key, node.hybrid_key
