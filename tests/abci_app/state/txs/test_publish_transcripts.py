"""PublishTranscripts: only signed answers to the author's own opened challenges, each once."""

from dataclasses import replace
from typing import Any

import pytest

from abci_app.state.challenge import parameters
from abci_app.state.errors import BAD_FIELD, BAD_TRANSCRIPT, DUPLICATE, NO_COMMITMENT, WINDOW_CLOSED, TxError
from network.chain_tx import PublishTranscripts, Transcript, challenge_hash
from network.crypto import SigningKey
from network.inference import Sampling


def test_transcripts_that_do_not_fit_are_refused_and_change_nothing(chain: Any) -> None:
    chain.ask(lambda *_: None)
    verifier = next(verifier for verifier in chain.verifiers if chain.challenges(verifier))
    challenge = chain.challenges(verifier)[0]
    good = chain.reply(challenge)

    def refused(*transcripts: Transcript, key: Any = verifier.key) -> int:
        before = chain.state.changes()
        with pytest.raises(TxError) as caught:
            chain.send(PublishTranscripts(0, transcripts), key)
        assert chain.state.changes() == before
        return caught.value.code

    assert refused() == BAD_FIELD
    assert refused(Transcript()) == BAD_FIELD
    assert refused(replace(good, signature=b"")) == BAD_FIELD
    assert refused(replace(good, challenge_hash=bytes(32))) == NO_COMMITMENT
    other = next(v for v in chain.verifiers if v is not verifier)
    assert refused(good, key=other.key) == NO_COMMITMENT
    for changed in (
        {"nonce": bytes(32)},
        {"sampling": Sampling(700, 0, 0, 40)},
        {"token_ids": ()},
        {"token_ids": (1,) * 41},
        {"model_hash": bytes(32)},
        {"node_id": bytes(20)},
        {"finish": 0},
        {"domain": b"another"},
    ):
        assert refused(chain.reply(challenge, **changed)) == BAD_TRANSCRIPT
    assert refused(chain.reply(challenge, by=SigningKey(bytes(32)))) == BAD_TRANSCRIPT  # not registered
    assert refused(replace(good, signature=bytes(64))) == BAD_TRANSCRIPT
    assert refused(replace(good, statement=replace(good.statement, token_ids=(9,)))) == BAD_TRANSCRIPT
    assert refused(good, good) == DUPLICATE
    chain.send(PublishTranscripts(0, (good,)), verifier.key)
    assert refused(Transcript(challenge_hash(challenge))) == DUPLICATE
    chain.to_offset(parameters(chain.state).publish_end)
    assert refused(good) == WINDOW_CLOSED
