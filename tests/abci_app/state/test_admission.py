"""Admission: strangers, puzzles, tokens; what a flood costs its sender and what it leaves behind."""

from dataclasses import replace
from typing import Any

import pytest

from abci_app.state import errors
from abci_app.state.admission import admit, rules, tokens
from network.chain_records import Account, account_key
from network.chain_tx import CommitChallenges, RegisterNode, TxKind, UpdateNode, decode_tx
from network.crypto import SigningKey, exchange_public, sha256
from network.ids import Role
from network.registration_work import solve

KEYS = [SigningKey(sha256(b"admission", bytes([number]))) for number in range(12)]
CHAIN = "planetserve-test"


def registration(number: int) -> RegisterNode:
    return RegisterNode(Role.USER, f"user-{number}", exchange_public(sha256(b"onion", bytes([number]))))


def register(ledger: Any, number: int, **work: int) -> bytes:
    raw: bytes = ledger.tx(KEYS[number], TxKind.REGISTER_NODE, replace(registration(number), **work))
    return raw


@pytest.mark.parametrize(("size", "cost"), [(1, 1), (1024, 1), (1025, 2), (65536, 64)])
def test_the_price_of_a_size(size: int, cost: int) -> None:
    assert tokens(size) == cost


def test_tokens_run_out_and_come_back_with_the_next_epoch(make_ledger: Any) -> None:
    ledger = make_ledger(tx_quota=8)
    renew = [ledger.tx(KEYS[0], TxKind.UPDATE_NODE, UpdateNode()) for _ in range(20)]
    ledger.block(register(ledger, 0))
    first = [ledger.tx(KEYS[0], TxKind.UPDATE_NODE, UpdateNode()) for _ in range(9)]
    assert ledger.codes(*first) == [0] * 7 + [errors.QUOTA_EXCEEDED] * 2
    account = ledger.state.load(Account, account_key(KEYS[0].public))
    ledger.block(ledger.tx(KEYS[0], TxKind.UPDATE_NODE, UpdateNode()), *renew)
    assert ledger.state.load(Account, account_key(KEYS[0].public)) == account, "beyond the quota not even a nonce is used"
    ledger.to(6)
    assert ledger.codes(ledger.tx(KEYS[0], TxKind.UPDATE_NODE, UpdateNode())) == [0]
    after = ledger.state.load(Account, account_key(KEYS[0].public))
    assert after is not None and (after.epoch, after.spent) == (1, 1)


def test_failed_transactions_cost_tokens_too(make_ledger: Any) -> None:
    ledger = make_ledger(tx_quota=8)
    ledger.block(register(ledger, 0))
    assert ledger.codes(*(register(ledger, 0) for _ in range(9)))[-3:] == [
        errors.ALREADY_REGISTERED,
        errors.QUOTA_EXCEEDED,
        errors.QUOTA_EXCEEDED,
    ]


def test_verifiers_have_a_quota_of_their_own(make_ledger: Any) -> None:
    ledger = make_ledger(tx_quota=8, verifier_quota=512)
    body = CommitChallenges(9, (bytes(32),))
    codes = ledger.codes(*(ledger.tx(ledger.verifiers[0], TxKind.COMMIT_CHALLENGES, body) for _ in range(514)))
    assert codes == [errors.WRONG_EPOCH] * 512 + [errors.QUOTA_EXCEEDED] * 2


def test_what_waits_counts(ledger: Any) -> None:
    ledger.block(register(ledger, 0))
    raw = ledger.tx(KEYS[0], TxKind.UPDATE_NODE, UpdateNode())
    by = rules(ledger.state)
    assert admit(decode_tx(raw), len(raw), ledger.state, by, waiting=14) == (Account(decode_tx(raw).nonce, 0, 2), True)
    with pytest.raises(errors.TxError) as caught:
        admit(decode_tx(raw), len(raw), ledger.state, by, waiting=15)
    assert caught.value.code == errors.QUOTA_EXCEEDED


def test_a_registration_needs_a_puzzle_of_its_own(make_ledger: Any) -> None:
    ledger = make_ledger(registration_work=8)
    key = KEYS[0].public
    solved = {"work_epoch": 0, "work_counter": solve(CHAIN, 0, key, 8)}
    other = {"work_epoch": 0, "work_counter": solve(CHAIN, 0, KEYS[1].public, 8)}
    early = {"work_epoch": 1, "work_counter": solve(CHAIN, 1, key, 8)}
    ledger.block()
    before = dict(ledger.rows.rows)
    assert ledger.codes(*(register(ledger, 0, **work) for work in ({}, other, early))) == [errors.BAD_WORK] * 3
    assert ledger.rows.rows == before, "a stranger that fails leaves nothing"
    assert ledger.codes(register(ledger, 0, **solved)) == [0]


def test_a_puzzle_is_good_for_three_epochs(make_ledger: Any) -> None:
    ledger = make_ledger(registration_work=4)
    work = [{"work_epoch": 0, "work_counter": solve(CHAIN, 0, KEYS[number].public, 4)} for number in (0, 1)]
    ledger.to(17)
    assert ledger.codes(register(ledger, 0, **work[0])) == [0], "the last block of epoch 2"
    assert ledger.codes(register(ledger, 1, **work[1])) == [errors.BAD_WORK]


def test_a_block_takes_so_many_registrations(make_ledger: Any) -> None:
    ledger = make_ledger(registrations_per_block=3)
    txs = [register(ledger, number) for number in range(5)]
    assert ledger.codes(*txs) == [0, 0, 0, errors.REGISTRATIONS_FULL, errors.REGISTRATIONS_FULL]
    assert ledger.codes(*txs[3:]) == [0, 0], "the same bytes, since a stranger's failure uses nothing up"


def test_a_flood_of_strangers_leaves_no_row(ledger: Any) -> None:
    ledger.block()
    before = dict(ledger.rows.rows)
    flood = [ledger.tx(key, TxKind.UPDATE_NODE, UpdateNode()) for key in KEYS for _ in range(5)]
    assert dict.fromkeys(ledger.codes(*flood)) == {errors.UNKNOWN_SIGNER: None}
    assert ledger.rows.rows == before
