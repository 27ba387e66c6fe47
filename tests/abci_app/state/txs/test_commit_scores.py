"""CommitScores: one commitment per member, in time."""

from typing import Any

import pytest

from abci_app.state.challenge import parameters
from abci_app.state.errors import BAD_FIELD, DUPLICATE, NOT_A_VERIFIER, WINDOW_CLOSED, WRONG_EPOCH, TxError
from network.chain_tx import CommitScores


def test_bad_commitments_are_refused_and_change_nothing(chain: Any) -> None:
    key = chain.verifiers[0].key

    def refused(body: CommitScores, signer: Any = key) -> int:
        before = chain.state.changes()
        with pytest.raises(TxError) as caught:
            chain.send(body, signer)
        assert chain.state.changes() == before
        return caught.value.code

    assert refused(CommitScores(0, bytes(32))) == WINDOW_CLOSED
    chain.to_offset(parameters(chain.state).publish_end)
    assert refused(CommitScores(0, b"")) == BAD_FIELD
    assert refused(CommitScores(1, bytes(32))) == WRONG_EPOCH
    assert refused(CommitScores(0, bytes(32)), chain.models[0]) == NOT_A_VERIFIER
    chain.send(CommitScores(0, bytes(32)), key)
    assert refused(CommitScores(0, bytes(31) + b"x")) == DUPLICATE
    chain.to_offset(parameters(chain.state).score_end)
    assert refused(CommitScores(0, bytes(32)), chain.verifiers[1].key) == WINDOW_CLOSED
