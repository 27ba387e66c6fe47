"""Response codes are permanent: this table may grow, and no line of it may change."""

import pytest

from abci_app.state import errors

PERMANENT = {
    "TOO_LARGE": 1,
    "MALFORMED": 2,
    "UNKNOWN_KIND": 3,
    "BAD_SIGNATURE": 4,
    "STALE_NONCE": 5,
    "BAD_FIELD": 6,
    "ALREADY_REGISTERED": 7,
    "UNKNOWN_NODE": 8,
    "NODE_RETIRED": 9,
    "UNKNOWN_GROUP": 10,
    "DIRECTORY_FULL": 11,
    "NOT_A_VERIFIER": 12,
    "WRONG_EPOCH": 13,
    "WINDOW_CLOSED": 14,
    "DUPLICATE": 15,
    "BAD_PROOF": 16,
    "NO_COMMITMENT": 17,
    "BAD_OPENING": 18,
    "NOT_ASSIGNED": 19,
    "BAD_TRANSCRIPT": 20,
    "KEY_COLLISION": 21,
    "INTERNAL": 22,
    "UNKNOWN_SIGNER": 23,
    "QUOTA_EXCEEDED": 24,
    "BAD_WORK": 25,
    "REGISTRATIONS_FULL": 26,
    "PROPOSAL_PENDING": 27,
    "UNKNOWN_PROPOSAL": 28,
    "PROPOSAL_CLOSED": 29,
    "BAD_CHANGE": 30,
}


def test_codes_never_move() -> None:
    assert {name: getattr(errors, name) for name in PERMANENT} == PERMANENT
    assert len(errors.meanings()) >= len(PERMANENT)


def test_a_code_cannot_be_registered_twice() -> None:
    with pytest.raises(AssertionError):
        errors.register(1, "again")


def test_an_error_says_its_meaning_and_detail() -> None:
    assert errors.TxError(errors.STALE_NONCE, "7 after 9").log.endswith("last one: 7 after 9")
