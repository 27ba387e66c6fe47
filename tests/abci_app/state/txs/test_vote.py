"""A vote names a proposal; what it counts for is in the tests of governance."""

import pytest

from abci_app.state.errors import BAD_FIELD, TxError
from abci_app.state.txs.vote import check_stateless
from network.chain_tx import Vote


def test_it_names_a_proposal() -> None:
    check_stateless(Vote(1, True))
    with pytest.raises(TxError) as caught:
        check_stateless(Vote(0, True))
    assert caught.value.code == BAD_FIELD
