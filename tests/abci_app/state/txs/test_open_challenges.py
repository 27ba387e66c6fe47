"""OpenChallenges: only what was committed, owned and given its nonce by the VRF; once; in time."""

from dataclasses import replace
from typing import Any

import pytest

from abci_app.state.challenge import MAX_CHALLENGE_TOKENS, assignment_input, leader_input, parameters
from abci_app.state.errors import (
    BAD_FIELD,
    BAD_OPENING,
    BAD_PROOF,
    DUPLICATE,
    NO_COMMITMENT,
    NOT_ASSIGNED,
    WINDOW_CLOSED,
    TxError,
)
from network import vrf
from network.chain_records import OpenedChallenges, opened_key
from network.chain_tx import CommitChallenges, OpenChallenges, challenge_hash
from network.crypto import SigningKey, sha256
from network.ids import node_id


def refused(chain: Any, body: Any, key: Any) -> int:
    before = chain.state.changes()
    with pytest.raises(TxError) as caught:
        chain.send(body, key)
    assert chain.state.changes() == before
    return caught.value.code


def committing(chain: Any, verifier: Any, *extra: Any) -> None:
    """Commit to the verifier's challenges and to others that it should not open."""
    hashes = [challenge_hash(challenge) for challenge in (*chain.challenges(verifier), *extra)]
    filler = [sha256(bytes((number,))) for number in range(parameters(chain.state).slots - len(hashes))]
    chain.send(CommitChallenges(chain.epoch.number, tuple(hashes + filler)), verifier.key)
    chain.to_offset(parameters(chain.state).send_end)


def owner(chain: Any) -> Any:
    """A verifier with something to open."""
    return next(verifier for verifier in chain.verifiers if chain.challenges(verifier))


def test_openings_that_do_not_fit_are_refused_and_change_nothing(chain: Any) -> None:
    verifier = owner(chain)
    own = chain.challenges(verifier)[0]
    foreign = [
        replace(own, nonce=bytes(31) + b"x"),
        replace(own, slot=1),
        replace(own, node_id=node_id(SigningKey(bytes(32)).public)),
        replace(own, salt=bytes(31) + b"y"),
    ]
    committing(chain, verifier, *foreign)
    good = chain.opening(verifier)

    def code(**changes: Any) -> int:
        return refused(chain, replace(good, **changes), verifier.key)

    assert code(challenges=()) == BAD_FIELD
    assert code(proof=b"") == BAD_FIELD
    assert code(challenges=(replace(own, epoch=9),)) == BAD_FIELD
    assert code(challenges=(replace(own, sampling=None),)) == BAD_FIELD
    assert code(challenges=(replace(own, sampling=replace(own.sampling, max_tokens=MAX_CHALLENGE_TOKENS + 1)),)) == BAD_FIELD
    assert code(challenges=(replace(own, body=b"{}"),)) == BAD_OPENING  # never committed
    assert code(challenges=(foreign[0],)) == BAD_OPENING  # a nonce of its author's choice
    assert code(challenges=(foreign[1],)) == NOT_ASSIGNED
    assert code(challenges=(foreign[2],)) == NOT_ASSIGNED
    assert code(challenges=(own, foreign[3])) == DUPLICATE  # the same pair twice
    assert code(proof=vrf.prove(verifier.key.seed, leader_input(chain.epoch.beacon))) == BAD_PROOF
    chain.send(good, verifier.key)
    names = chain.state.load(OpenedChallenges, opened_key(0, verifier.id)).names
    assert names == tuple(challenge_hash(challenge) for challenge in good.challenges)
    assert refused(chain, good, verifier.key) == DUPLICATE
    assert code(challenges=(foreign[3],)) == DUPLICATE


def test_openings_need_a_commitment_and_their_window(chain: Any) -> None:
    verifier = owner(chain)
    early = chain.opening(verifier)
    assert refused(chain, early, verifier.key) == WINDOW_CLOSED
    chain.to_offset(parameters(chain.state).send_end)
    assert refused(chain, early, verifier.key) == NO_COMMITMENT


def test_another_verifiers_pairs_cannot_be_opened(chain: Any) -> None:
    verifier = owner(chain)
    other = next(v for v in chain.verifiers if v is not verifier and chain.challenges(v))
    stolen = chain.challenges(other)[0]
    committing(chain, verifier, stolen)
    proof = vrf.prove(verifier.key.seed, assignment_input(chain.epoch.beacon))
    body = OpenChallenges(0, (stolen,), proof)
    assert refused(chain, body, verifier.key) in (NOT_ASSIGNED, BAD_OPENING)
