"""RetireNode: a node leaves once."""

import pytest

from abci_app.state.context import BlockContext
from abci_app.state.errors import NODE_RETIRED, UNKNOWN_NODE, TxError
from abci_app.state.state import MemoryReader, State
from abci_app.state.txs.retire_node import check_and_execute, check_stateless
from network.chain_records import NodeRecord, node_key
from network.chain_tx import RetireNode
from network.ids import node_id

SIGNER = b"\x05" * 32
BLOCK = BlockContext("c", 9, bytes(32), bytes(32))


def test_once() -> None:
    state = State(MemoryReader())
    check_stateless(RetireNode())
    with pytest.raises(TxError) as caught:
        check_and_execute(RetireNode(), SIGNER, state, BLOCK)
    assert caught.value.code == UNKNOWN_NODE
    state.save(node_key(node_id(SIGNER)), NodeRecord(signing_key=SIGNER, reputation=7, trusted=True))
    [event] = check_and_execute(RetireNode(), SIGNER, state, BLOCK)
    assert event.kind == "node_retired"
    record = state.load(NodeRecord, node_key(node_id(SIGNER)))
    assert record is not None and (record.retired, record.reputation) == (True, 7)
    with pytest.raises(TxError) as caught:
        check_and_execute(RetireNode(), SIGNER, state, BLOCK)
    assert caught.value.code == NODE_RETIRED
