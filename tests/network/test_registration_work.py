"""The registration puzzle: a vector, what a solution is bound to, and how the work grows."""

import pytest

from network.registration_work import is_solved, solve

SIGNER = bytes(range(32))
VECTOR = 3500


def test_a_solution_by_hand() -> None:
    """SHA-256(domain | SHA-256("chain") | u64 3 | signer | u64 counter), checked with openssl."""
    assert solve("chain", 3, SIGNER, 12) == VECTOR
    assert is_solved("chain", 3, SIGNER, VECTOR, 12)


@pytest.mark.parametrize(("chain", "epoch", "signer"), [("other", 3, SIGNER), ("chain", 4, SIGNER), ("chain", 3, bytes(32))])
def test_it_holds_for_one_chain_epoch_and_signer(chain: str, epoch: int, signer: bytes) -> None:
    assert not is_solved(chain, epoch, signer, VECTOR, 12)


def test_more_bits_are_harder_and_none_is_free() -> None:
    assert solve("chain", 0, SIGNER, 0) == 0
    counters = [solve("chain", 0, SIGNER, bits) for bits in range(12)]
    assert counters == sorted(counters) and counters[-1] > 0
