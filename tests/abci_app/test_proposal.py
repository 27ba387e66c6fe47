"""Proposals: the order of a block, its size, and what CometBFT requires of Prepare- and ProcessProposal (R2 to R5, R9, R13).

The replicas stand on dictionaries; one of them has seen everything before, the other nothing but the block.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.application import Application, Staged
from abci_app.proposal import proto_size
from abci_app.state.context import BlockContext
from abci_app.state.genesis import Genesis
from abci_app.state.state import MemoryReader
from network.chain_tx import CommitScores, RegisterNode, TxKind, UpdateNode, build_tx
from network.crypto import SigningKey, exchange_public, sha256
from network.ids import Role

CHAIN = "proposals"
KEYS = [SigningKey(sha256(b"proposal", bytes([number]))) for number in range(6)]
VERIFIER, REGISTERED, STRANGER = KEYS[0], KEYS[1:4], KEYS[4:]
STATE = json.dumps(
    {
        "params": {"registration_work": 0, "registrations_per_block": 3, "tx_quota": 64},
        "verifiers": [{"consensus_key": KEYS[5].public.hex(), "verifier_key": VERIFIER.public.hex(), "name": "v"}],
    }
).encode()
MAX = 1_000_000


@dataclass
class Rows(MemoryReader):
    """One version in dictionaries."""

    rows: dict[bytes, bytes]
    nodes: dict[bytes, bytes]


@dataclass
class MemoryStore:
    """The latest version only."""

    height: int = 0
    oldest: int = 1
    app_hash: bytes = b""
    held: Rows = field(default_factory=lambda: Rows({}, {}))

    def version(self, height: int) -> Rows:
        assert height == self.height
        return self.held

    def save(self, staged: Staged, genesis: Staged | None) -> None:
        for part in (genesis, staged):
            for changes, kept in ((part.rows, self.held.rows), (part.nodes, self.held.nodes)) if part else ():
                for key, value in changes:
                    if value is None:
                        kept.pop(key, None)
                    else:
                        kept[key] = value
        self.height, self.app_hash = staged.height, staged.app_hash


def register(key: SigningKey, nonce: int = 1) -> bytes:
    body = RegisterNode(Role.USER, "node", exchange_public(key.seed))
    return build_tx(TxKind.REGISTER_NODE, body, key=key, chain_id=CHAIN, nonce=nonce)


def update(key: SigningKey, nonce: int, padding: int = 0) -> bytes:
    body = UpdateNode(address="a" * padding + ":1" if padding else "")
    return build_tx(TxKind.UPDATE_NODE, body, key=key, chain_id=CHAIN, nonce=nonce)


def score(nonce: int) -> bytes:
    return build_tx(TxKind.COMMIT_SCORES, CommitScores(0, bytes(range(32))), key=VERIFIER, chain_id=CHAIN, nonce=nonce)


def replica() -> Application:
    """At height 1, with three nodes registered."""
    app = Application(MemoryStore(), CHAIN, STATE)  # type: ignore[arg-type]
    app.init_chain(Genesis(CHAIN, 1, ((KEYS[5].public, 10),), STATE))
    finalize(app, [register(key) for key in REGISTERED])
    app.commit()
    return app


def context(height: int) -> BlockContext:
    return BlockContext(CHAIN, height, sha256(bytes([height])), sha256(b"c"))


def finalize(app: Application, txs: list[bytes]) -> object:
    return app.finalize_block(context(app.height + 1), txs)


@pytest.fixture(scope="module")
def make() -> Callable[[], Application]:
    """Replicas at height 1, built once and copied."""
    first = replica()
    rows, nodes = dict(first._store.version(1).rows), dict(first._store.version(1).nodes)  # type: ignore[attr-defined,call-overload]

    def build() -> Application:
        store = MemoryStore(1, 1, first.info()[1], Rows(dict(rows), dict(nodes)))
        return Application(store, CHAIN, STATE)  # type: ignore[arg-type]

    return build


def test_committee_first_then_nodes_then_strangers(make: Callable[[], Application]) -> None:
    strange, late = register(STRANGER[0]), register(STRANGER[1])
    pool = [strange, update(REGISTERED[0], 2), score(1), late, update(REGISTERED[1], 2), score(2)]
    expected = [score(1), score(2), update(REGISTERED[0], 2), update(REGISTERED[1], 2), strange, late]
    assert make().prepare_proposal(pool, MAX) == expected


def test_what_does_not_fit_takes_its_signers_later_ones_with_it(make: Callable[[], Application]) -> None:
    large, after, small = update(REGISTERED[0], 2, 100), update(REGISTERED[0], 3), update(REGISTERED[1], 2)
    room = proto_size(small) + proto_size(after)
    assert make().prepare_proposal([large, after, small], room) == [small]


def test_nonces_come_once_and_in_order(make: Callable[[], Application]) -> None:
    node = REGISTERED[0]
    pool = [update(node, 1), update(node, 3), update(node, 2), update(node, 3), update(node, 4)]
    assert make().prepare_proposal(pool, MAX) == [update(node, 3), update(node, 4)]


def test_quotas_and_registrations_are_counted(make: Callable[[], Application]) -> None:
    """One stranger's many registrations take one place; a node's own transactions end with its tokens."""
    others = [SigningKey(sha256(b"stranger", bytes([number]))) for number in range(4)]
    pool = [register(others[0], nonce) for nonce in range(1, 5)] + [register(key) for key in others[1:]]
    assert make().prepare_proposal(pool, MAX) == [register(key) for key in others[:3]]
    app, node = make(), REGISTERED[0]
    busy = [update(node, nonce) for nonce in range(2, 70)]
    proposal = app.prepare_proposal(busy, MAX)
    assert proposal == busy[:63], "64 tokens an epoch, one of them used by registering"
    assert not any(result.code for result in finalize(app, proposal)[0].tx_results)  # type: ignore[index]


def entries() -> st.SearchStrategy[bytes]:
    nodes = st.builds(update, st.sampled_from(REGISTERED), st.integers(1, 5), st.integers(0, 100))
    strangers = st.builds(register, st.sampled_from(KEYS[1:]), st.integers(1, 3))
    bent = st.builds(lambda raw, at: raw[:at] + b"\x00" + raw[at + 1 :], nodes, st.integers(0, 150))
    return nodes | strangers | st.builds(score, st.integers(1, 4)) | bent | st.binary(max_size=40) | st.just(bytes(70_000))


@settings(max_examples=60, deadline=None)
@given(st.lists(entries(), max_size=12), st.lists(entries(), max_size=6), st.integers(0, 3000))
def test_requirements_of_proposals(
    make: Callable[[], Application], pool: list[bytes], other: list[bytes], max_bytes: int
) -> None:
    busy, fresh = make(), make()
    before = busy.info()
    checked = [busy.check_tx(raw) for raw in pool]
    assert [busy.check_tx(raw) for raw in pool] == checked, "R13: CheckTx does not waver"
    finalize(busy, other)  # a candidate that is not decided
    proposal = busy.prepare_proposal(pool, max_bytes)
    assert sum(proto_size(raw) for raw in proposal) <= max_bytes, "R2"
    assert fresh.process_proposal(proposal) and busy.process_proposal(proposal), "R3"
    assert fresh.process_proposal(other) == busy.process_proposal(other) == make().process_proposal(other), "R4, R5"
    assert busy.info() == before, "R9: proposals change nothing"
    codes = [result.code for result in finalize(fresh, proposal)[0].tx_results]  # type: ignore[index]
    assert not {1, 2, 3, 4, 5} & set(codes), "nothing that only a block could refuse was proposed"
    busy.execute_ahead()
    for ahead in (proposal, other):
        if fresh.process_proposal(ahead, context(2)):
            fresh.execute_ahead()
        for block in (proposal, other):
            assert finalize(busy, block) == finalize(fresh, block) == finalize(make(), block), "R11, R12"


def test_a_block_executed_ahead_is_the_one_that_is_saved(make: Callable[[], Application]) -> None:
    """Another block, another commit before it, or another height: executed when it is decided."""
    ahead, plain = make(), make()
    txs = [update(REGISTERED[0], 2), score(1)]
    assert ahead.process_proposal(txs, context(2))
    ahead.execute_ahead()
    executed = ahead._executed
    assert executed is not None and ahead.info() == plain.info(), "R9"
    assert finalize(ahead, txs) == finalize(plain, txs) and ahead._staged is executed.staged
    other = ahead.finalize_block(BlockContext(CHAIN, 2, sha256(b"other"), sha256(b"c")), txs)
    assert ahead._staged is not executed.staged and other[1] == executed.staged.app_hash
    for app in (ahead, plain):
        finalize(app, txs[:1])
        app.commit()
        app.execute_ahead()
    assert ahead.info() == plain.info() and ahead._executed is None
    assert finalize(ahead, txs[1:]) == finalize(plain, txs[1:])
