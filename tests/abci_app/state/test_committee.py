"""Who a signer is, how many may be faulty, and what a quorum is."""

from typing import Any

import pytest

from abci_app.state.committee import faulty, is_quorum, members, validator_of
from abci_app.state.errors import NOT_A_VERIFIER, TxError
from network.chain_records import ValidatorRecord, validator_key


def test_members_are_in_id_order_and_have_power(chain: Any) -> None:
    chain.state.save(validator_key(bytes(20)), ValidatorRecord(bytes(32), bytes(32), 0, "left"))
    found = members(chain.state)
    assert [validator for validator, _ in found] == sorted(verifier.id for verifier in chain.verifiers)


def test_a_verifier_key_names_its_validator(chain: Any) -> None:
    verifier = chain.verifiers[2]
    assert validator_of(verifier.key.public, chain.state) == verifier.id
    with pytest.raises(TxError) as caught:
        validator_of(chain.models[0].public, chain.state)
    assert caught.value.code == NOT_A_VERIFIER


@pytest.mark.parametrize(("size", "may_fail", "needed"), [(1, 0, 1), (3, 0, 3), (4, 1, 3), (7, 2, 5), (10, 3, 7)])
def test_quorum_is_more_than_two_thirds_of_the_power(make_chain: Any, size: int, may_fail: int, needed: int) -> None:
    committee = members(make_chain(committee=size, models=1).state)
    assert faulty(committee) == may_fail
    assert [is_quorum(10 * count, committee) for count in (needed - 1, needed)] == [False, True]
