"""CommitChallenges: exactly the chain's number of distinct hashes, once, in time."""

from dataclasses import replace
from typing import Any

import pytest

from abci_app.state.challenge import parameters
from abci_app.state.errors import BAD_FIELD, DUPLICATE, NOT_A_VERIFIER, WINDOW_CLOSED, WRONG_EPOCH, TxError


def test_bad_commitments_are_refused_and_change_nothing(chain: Any) -> None:
    verifier = chain.verifiers[0]
    good = chain.commitment(verifier)

    def refused(body: Any, key: Any = verifier.key) -> int:
        before = chain.state.changes()
        with pytest.raises(TxError) as caught:
            chain.send(body, key)
        assert chain.state.changes() == before
        return caught.value.code

    assert refused(replace(good, commitments=())) == BAD_FIELD
    assert refused(replace(good, commitments=good.commitments[:-1])) == BAD_FIELD
    assert refused(replace(good, commitments=(*good.commitments[:-1], good.commitments[0]))) == BAD_FIELD
    assert refused(replace(good, epoch=4)) == WRONG_EPOCH
    assert refused(good, chain.models[0]) == NOT_A_VERIFIER
    chain.send(good, verifier.key)
    assert refused(good) == DUPLICATE
    chain.to_offset(parameters(chain.state).commit_end)
    assert refused(chain.commitment(chain.verifiers[1]), chain.verifiers[1].key) == WINDOW_CLOSED
