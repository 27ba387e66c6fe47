"""RevealScores: the committed sheet of the signer, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from abci_app.state.challenge import parameters
from abci_app.state.errors import BAD_FIELD, BAD_OPENING, DUPLICATE, NO_COMMITMENT, WINDOW_CLOSED, TxError
from network.chain_tx import CommitScores, RevealScores, Score, ScoreSheet, challenge_hash, sheet_hash


def test_sheets_that_do_not_fit_are_refused_and_change_nothing(chain: Any) -> None:
    chain.ask(lambda _, challenge: chain.reply(challenge))
    first, second = chain.verifiers[:2]
    names = sorted(challenge_hash(challenge) for challenge in chain.all_challenges())
    sheet = ScoreSheet(0, first.id, tuple(Score(name, 5, 5) for name in names), b"s" * 32)
    invented = replace(sheet, verifier=second.id, scores=(Score(bytes(32), 5, 5),))

    def refused(body: Any, key: Any = first.key) -> int:
        before = chain.state.changes()
        with pytest.raises(TxError) as caught:
            chain.send(RevealScores(body), key)
        assert chain.state.changes() == before
        return caught.value.code

    chain.to_offset(parameters(chain.state).publish_end)
    chain.send(CommitScores(0, sheet_hash(sheet)), first.key)
    chain.send(CommitScores(0, sheet_hash(invented)), second.key)
    chain.send(CommitScores(0, sheet_hash(sheet)), chain.verifiers[2].key)
    assert refused(sheet) == WINDOW_CLOSED
    chain.to_offset(parameters(chain.state).score_end)
    assert refused(None) == BAD_FIELD
    assert refused(replace(sheet, salt=b"")) == BAD_FIELD
    assert refused(replace(sheet, scores=sheet.scores[::-1])) == BAD_FIELD
    assert refused(replace(sheet, scores=(sheet.scores[0], sheet.scores[0]))) == BAD_FIELD
    assert refused(replace(sheet, salt=b"t" * 32)) == BAD_OPENING
    assert refused(replace(sheet, scores=())) == BAD_OPENING
    assert refused(sheet, chain.verifiers[2].key) == BAD_OPENING  # a copied commitment opens for its author only
    assert refused(sheet, chain.verifiers[3].key) == NO_COMMITMENT
    assert refused(invented, second.key) == BAD_FIELD
    chain.send(RevealScores(sheet), first.key)
    assert refused(sheet) == DUPLICATE
