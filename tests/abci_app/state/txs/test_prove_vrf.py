"""ProveVrf: who may prove, when, and what does not verify."""

from typing import Any

import pytest

from abci_app.state.challenge import assignment_input, leader_input, parameters
from abci_app.state.errors import BAD_FIELD, BAD_PROOF, DUPLICATE, NOT_A_VERIFIER, WINDOW_CLOSED, WRONG_EPOCH, TxError
from network import vrf
from network.chain_tx import ProveVrf


def proof(chain: Any, index: int, made: Any = leader_input) -> bytes:
    return vrf.prove(chain.verifiers[index].key.seed, made(chain.epoch.beacon))


def refused(chain: Any, body: ProveVrf, key: Any) -> int:
    before = chain.state.changes()
    with pytest.raises(TxError) as caught:
        chain.send(body, key)
    assert chain.state.changes() == before
    return caught.value.code


def test_bad_proofs_are_refused_and_change_nothing(chain: Any) -> None:
    key = chain.verifiers[0].key
    assert refused(chain, ProveVrf(0, b""), key) == BAD_FIELD
    assert refused(chain, ProveVrf(0, bytes(80)), key) == BAD_PROOF
    assert refused(chain, ProveVrf(0, proof(chain, 1)), key) == BAD_PROOF
    assert refused(chain, ProveVrf(0, proof(chain, 0, assignment_input)), key) == BAD_PROOF
    assert refused(chain, ProveVrf(1, proof(chain, 0)), key) == WRONG_EPOCH
    assert refused(chain, ProveVrf(0, proof(chain, 0)), chain.models[0]) == NOT_A_VERIFIER
    chain.send(ProveVrf(0, proof(chain, 0)), key)
    assert refused(chain, ProveVrf(0, proof(chain, 0)), key) == DUPLICATE
    chain.to_offset(parameters(chain.state).vrf_end)
    assert refused(chain, ProveVrf(0, proof(chain, 1)), chain.verifiers[1].key) == WINDOW_CLOSED
