"""UpdateNode: renewal, change, and who may not."""

from dataclasses import replace

import pytest

from abci_app.state.context import BlockContext
from abci_app.state.directory import MEMBERSHIP_KEY, Membership
from abci_app.state.errors import BAD_FIELD, NODE_RETIRED, UNKNOWN_NODE, TxError
from abci_app.state.params import DEFAULT
from abci_app.state.state import MemoryReader, State
from abci_app.state.txs.update_node import check_and_execute, check_stateless
from network.chain_records import CURRENT_EPOCH_KEY, PARAMS_KEY, EpochRecord, NodeRecord, node_key
from network.chain_tx import UpdateNode
from network.crypto import exchange_public
from network.ids import Role, node_id

SIGNER = b"\x05" * 32
KEY = node_key(node_id(SIGNER))
ONION = exchange_public(b"\x07" * 32)
BLOCK = BlockContext("c", 9, bytes(32), bytes(32))
NODE = NodeRecord(signing_key=SIGNER, role=Role.RELAY, name="r", onion_key=ONION, address="h:1", renewed_epoch=3)


def state(node: NodeRecord | None = NODE, epoch: int = 4) -> State:
    made = State(MemoryReader())
    made.save(PARAMS_KEY, DEFAULT)
    made.save(CURRENT_EPOCH_KEY, EpochRecord(epoch, 1))
    made.save(MEMBERSHIP_KEY, Membership(1, False))
    if node is not None:
        made.save(KEY, node)
    return made


def test_a_renewal_changes_the_epoch_only() -> None:
    held = state()
    check_and_execute(UpdateNode(), SIGNER, held, BLOCK)
    assert held.load(NodeRecord, KEY) == replace(NODE, renewed_epoch=4)
    assert held.load(Membership, MEMBERSHIP_KEY) == Membership(1, False), "the directory need not be written"


def test_what_is_given_replaces() -> None:
    held, other = state(), exchange_public(b"\x08" * 32)
    check_and_execute(UpdateNode(other, "h:2"), SIGNER, held, BLOCK)
    assert held.load(NodeRecord, KEY) == replace(NODE, renewed_epoch=4, onion_key=other, address="h:2")
    assert held.load(Membership, MEMBERSHIP_KEY) == Membership(1, True)


def test_a_model_node_names_a_hybrid_key() -> None:
    model, hybrid = replace(NODE, role=int(Role.MODEL), group="g"), bytes(1184) + ONION
    held = state(model)
    check_stateless(UpdateNode(hybrid_key=hybrid))
    check_and_execute(UpdateNode(hybrid_key=hybrid), SIGNER, held, BLOCK)
    assert held.load(NodeRecord, KEY) == replace(model, renewed_epoch=4, hybrid_key=hybrid)
    assert held.load(Membership, MEMBERSHIP_KEY) == Membership(1, True)
    check_and_execute(UpdateNode(), SIGNER, held, BLOCK)
    assert held.load(NodeRecord, KEY) == replace(model, renewed_epoch=4, hybrid_key=hybrid), "a renewal keeps it"


def test_an_expired_node_is_admitted_again() -> None:
    held = state(epoch=3 + DEFAULT.lifetime_epochs + 1)
    check_and_execute(UpdateNode(), SIGNER, held, BLOCK)
    assert held.load(Membership, MEMBERSHIP_KEY) == Membership(2, True)


@pytest.mark.parametrize(
    ("node", "body", "code"),
    [
        (None, UpdateNode(), UNKNOWN_NODE),
        (replace(NODE, retired=True), UpdateNode(), NODE_RETIRED),
        (replace(NODE, role=int(Role.USER), address=""), UpdateNode(address="h:1"), BAD_FIELD),
        (NODE, UpdateNode(hybrid_key=bytes(1184) + ONION), BAD_FIELD),
    ],
)
def test_refusals(node: NodeRecord | None, body: UpdateNode, code: int) -> None:
    with pytest.raises(TxError) as caught:
        check_and_execute(body, SIGNER, state(node), BLOCK)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "body", [UpdateNode(address="nowhere"), UpdateNode(onion_key=b"\x01" + bytes(31)), UpdateNode(hybrid_key=bytes(1216))]
)
def test_shapes(body: UpdateNode) -> None:
    with pytest.raises(TxError) as caught:
        check_stateless(body)
    assert caught.value.code == BAD_FIELD
    check_stateless(UpdateNode())
