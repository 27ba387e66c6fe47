"""ABCI's methods in lifecycle order over a real store: repetition, proposals, queries, and what must crash."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from abci_app.aio.storage import LevelStore
from abci_app.application import Application
from abci_app.query.answer import BAD_KEY, HEIGHT_UNAVAILABLE, KEY_NOT_FOUND, UNKNOWN_PATH
from abci_app.state import errors
from abci_app.state.app_hash import EMPTY_LEAF, app_hash, inner_hash
from abci_app.state.context import BlockContext
from abci_app.state.genesis import Genesis
from abci_app.tree import Proof
from network.chain_records import DIRECTORY_KEY, PARAMS_KEY, QUERY_PATH, Account, account_key, node_key
from network.chain_tx import CommitScores, RegisterNode, TxKind, UpdateNode, build_tx
from network.codec import encode
from network.crypto import SigningKey, exchange_public, sha256
from network.errors import ConfigError
from network.ids import Role, node_id

CHAIN = "app-test"
KEYS = [SigningKey(sha256(b"application", bytes([number]))) for number in range(4)]
STATE = json.dumps(
    {
        "params": {"registration_work": 0},
        "verifiers": [{"consensus_key": KEYS[0].public.hex(), "verifier_key": KEYS[3].public.hex(), "name": "v"}],
        "groups": [],
    }
).encode()
GENESIS = Genesis(CHAIN, 1, ((KEYS[0].public, 10),), STATE)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    store = LevelStore(tmp_path / "db", chain_id=CHAIN, genesis_hash=bytes(32))
    yield Application(store, CHAIN, STATE)
    store.close()


def context(height: int) -> BlockContext:
    return BlockContext(CHAIN, height, sha256(bytes([height])), sha256(b"c", bytes([height])))


def user(number: int, nonce: int = 1) -> bytes:
    body = RegisterNode(Role.USER, f"user-{number}", exchange_public(sha256(bytes([number]))))
    return build_tx(TxKind.REGISTER_NODE, body, key=KEYS[number], chain_id=CHAIN, nonce=nonce)


def update(number: int, nonce: int) -> bytes:
    return build_tx(TxKind.UPDATE_NODE, UpdateNode(), key=KEYS[number], chain_id=CHAIN, nonce=nonce)


def advance(app: Application, height: int, txs: list[bytes]) -> bytes:
    assert app.process_proposal(txs)
    new_hash = app.finalize_block(context(height), txs)[1]
    app.commit()
    assert app.info() == (height, new_hash)
    return new_hash


def climb(proof: Proof) -> bytes:
    node = proof.leaf
    for level, aunt in enumerate(proof.aunts):
        node = inner_hash(aunt, node) if proof.index >> level & 1 else inner_hash(node, aunt)
    return app_hash(node)


def test_lifecycle_with_repetitions(app: Application) -> None:
    """InitChain and FinalizeBlock may come again before a Commit; the last one counts."""
    assert app.info() == (0, b"")
    genesis_hash = app.init_chain(GENESIS)
    assert app.init_chain(GENESIS) == genesis_hash
    first = app.finalize_block(context(1), [user(0)])
    app.finalize_block(context(1), [])
    assert app.finalize_block(context(1), [user(0)]) == first
    assert app.info() == (0, b""), "nothing is durable before Commit"
    app.commit()
    assert app.info() == (1, first[1])
    second = app.finalize_block(context(2), [user(1)])
    assert app.finalize_block(context(2), [user(1)]) == second


def test_a_restarted_replica_replays_to_the_same_hash(tmp_path: Path) -> None:
    blocks = [[user(0)], [user(1), user(0, 2)], [], [update(0, 3)]]
    store = LevelStore(tmp_path / "a", chain_id=CHAIN, genesis_hash=bytes(32))
    steady = Application(store, CHAIN, STATE)
    steady.init_chain(GENESIS)
    hashes = [advance(steady, height, txs) for height, txs in enumerate(blocks, start=1)]
    store.close()
    for height, txs in enumerate(blocks, start=1):
        store = LevelStore(tmp_path / "b", chain_id=CHAIN, genesis_hash=bytes(32))
        restarted = Application(store, CHAIN, STATE)
        if height == 1:
            restarted.init_chain(GENESIS)
        restarted.finalize_block(context(height), txs)  # a Commit that a crash prevented
        store.close()
        store = LevelStore(tmp_path / "b", chain_id=CHAIN, genesis_hash=bytes(32))
        restarted = Application(store, CHAIN, STATE)
        if height == 1:
            restarted.init_chain(GENESIS)
        assert advance(restarted, height, txs) == hashes[height - 1]
        store.close()


def test_queries_answer_one_below_the_latest_with_proofs(app: Application) -> None:
    assert app.query(QUERY_PATH, PARAMS_KEY, 0, False).code == HEIGHT_UNAVAILABLE
    app.init_chain(GENESIS)
    hashes = {1: advance(app, 1, [user(0)])}
    assert app.query(QUERY_PATH, PARAMS_KEY, 0, True).code == HEIGHT_UNAVAILABLE, "height 0 has no header to prove it"
    hashes[2] = advance(app, 2, [user(1)])
    first, second = (node_key(node_id(KEYS[number].public)) for number in (0, 1))
    found = app.query(QUERY_PATH, first, 0, True)
    assert (found.code, found.height) == (0, 1) and found.proof is not None
    assert climb(found.proof) == hashes[1]
    absent = app.query(QUERY_PATH, second, 0, True)
    assert (absent.code, absent.height) == (KEY_NOT_FOUND, 1) and absent.proof is not None
    assert absent.proof.leaf == EMPTY_LEAF and climb(absent.proof) == hashes[1]
    hashes[3] = advance(app, 3, [update(0, 2)])
    assert app.query(QUERY_PATH, second, 0, True).code == 0
    at_one = app.query(QUERY_PATH, account_key(KEYS[0].public), 1, True)
    at_two = app.query(QUERY_PATH, account_key(KEYS[0].public), 3, False)
    assert (at_one.value, at_two.value) == (encode(Account(1, 0, 1)), encode(Account(2, 0, 2)))
    assert at_one.proof is not None and climb(at_one.proof) == hashes[1]
    assert app.query(QUERY_PATH, DIRECTORY_KEY, 3, True).code == HEIGHT_UNAVAILABLE
    for height in (-1, 4, 2**60):
        assert app.query(QUERY_PATH, PARAMS_KEY, height, False).code == HEIGHT_UNAVAILABLE
    assert app.query("/store/other/key", PARAMS_KEY, 0, False).code == UNKNOWN_PATH
    assert app.query(QUERY_PATH, b"", 0, True).code == BAD_KEY
    assert app.query(QUERY_PATH, b"x:00", 0, True).code == BAD_KEY
    assert app.query("/p2p/filter/addr/1.2.3.4", b"", 0, False).code == 0


def test_check_tx_judges_without_changing(app: Application) -> None:
    app.init_chain(GENESIS)
    advance(app, 1, [user(0, 5)])
    before = app.info()
    assert app.check_tx(user(1)).code == 0
    assert app.check_tx(user(1)).code == 0, "it is not in a block yet"
    assert app.check_tx(user(0, 5)).code == errors.STALE_NONCE
    assert app.check_tx(b"\xff").code == errors.MALFORMED
    assert app.check_tx(bytes(70_000)).code == errors.TOO_LARGE
    wrong = build_tx(TxKind.REGISTER_NODE, RegisterNode(Role.USER, "NO"), key=KEYS[2], chain_id=CHAIN, nonce=1)
    assert app.check_tx(wrong).code == errors.BAD_FIELD
    assert app.info() == before


def test_proposals(app: Application) -> None:
    """[APP-PROP-1] Every proposal we prepare is one we accept; what no honest proposer makes is refused."""
    app.init_chain(GENESIS)
    advance(app, 1, [user(0, 5)])
    committee = build_tx(TxKind.COMMIT_SCORES, CommitScores(0, bytes(32)), key=KEYS[3], chain_id=CHAIN, nonce=1)
    pool = [user(1), b"junk", user(0, 5), committee, bytes(70_000), user(2)]
    assert app.prepare_proposal(pool, 4_000_000) == [committee, user(1), user(2)], "the committee first, the rest in order"
    assert app.process_proposal(app.prepare_proposal(pool, 4_000_000))
    room = len(committee) + len(user(1)) + 6
    assert app.prepare_proposal(pool, room) == [committee, user(1)]
    assert app.prepare_proposal(pool, room - 1) == [committee]
    assert app.prepare_proposal(pool, 0) == []
    assert app.process_proposal([user(0, 5)]), "a stale nonce costs the transaction a code, not the proposer its block"
    for bad in (b"junk", bytes(70_000), user(1)[:-1] + b"\x00"):
        assert not app.process_proposal([user(2), bad])


def test_what_must_crash(app: Application) -> None:
    with pytest.raises(AssertionError):
        app.finalize_block(context(1), [])
    with pytest.raises(AssertionError):
        app.commit()
    for other in (
        Genesis("another", 1, GENESIS.validators, STATE),
        Genesis(CHAIN, 1, GENESIS.validators, b'{"groups": []}'),
        Genesis(CHAIN, 1, GENESIS.validators, b""),
    ):
        with pytest.raises(ConfigError, match="another chain"):
            app.init_chain(other)
    app.init_chain(GENESIS)
    advance(app, 1, [])
    with pytest.raises(AssertionError):
        app.finalize_block(context(3), [])
    with pytest.raises(AssertionError):
        app.init_chain(GENESIS)


def test_what_check_tx_admits_counts_until_the_next_commit(tmp_path: Path) -> None:
    """A mempool holds no more of a signer than the signer may still spend; after a Commit CometBFT asks again."""
    document = json.loads(STATE)
    document["params"]["tx_quota"] = 8
    small = json.dumps(document).encode()
    store = LevelStore(tmp_path / "db", chain_id=CHAIN, genesis_hash=bytes(32))
    app = Application(store, CHAIN, small)
    app.init_chain(replace(GENESIS, app_state=small))
    advance(app, 1, [user(0)])
    renewals = [update(0, nonce) for nonce in range(2, 12)]
    assert [app.check_tx(raw).code for raw in renewals] == [0] * 7 + [errors.QUOTA_EXCEEDED] * 3
    assert app.check_tx(update(1, 1)).code == errors.UNKNOWN_SIGNER
    committee = build_tx(TxKind.COMMIT_SCORES, CommitScores(0, bytes(32)), key=KEYS[3], chain_id=CHAIN, nonce=1)
    assert app.check_tx(committee).code == 0, "another signer's tokens are its own"
    advance(app, 2, renewals[:2])
    assert [app.check_tx(raw).code for raw in renewals[2:]] == [0] * 5 + [errors.QUOTA_EXCEEDED] * 3, "five are left"
    advance(app, 3, renewals[2:])
    assert app.committed_codes() == [0] * 5 + [errors.QUOTA_EXCEEDED] * 3, "a proposer that forces them gains nothing"
    store.close()


def test_a_strangers_registration_must_succeed_as_things_stand(app: Application) -> None:
    app.init_chain(GENESIS)
    advance(app, 1, [])
    body = RegisterNode(Role.MODEL, "m", exchange_public(bytes(range(32))), "a:1", "f", "nowhere", bytes(32))
    raw = build_tx(TxKind.REGISTER_NODE, body, key=KEYS[2], chain_id=CHAIN, nonce=1)
    assert app.check_tx(raw).code == errors.UNKNOWN_GROUP


def test_what_is_remembered_of_transactions_is_bounded(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abci_app.application.REMEMBERED_BYTES", 2 * len(user(0)))
    app.init_chain(GENESIS)
    for number in (0, 1, 2, 0):
        assert app.check_tx(user(number)).code == 0
    assert len(app._opened) == 2
