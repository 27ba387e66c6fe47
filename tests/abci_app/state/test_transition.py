"""The state machine: replicas with different histories agree; a failed transaction changes nothing but its nonce."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.state import directory, errors, transition, upgrade
from abci_app.state.app_hash import app_hash, leaf_hash, leaf_index, root_hash
from abci_app.state.context import BlockContext, Event, Misbehavior
from abci_app.state.genesis import Genesis, genesis_state
from abci_app.state.params import DEFAULT
from abci_app.state.state import MemoryReader, State
from abci_app.state.transition import Block, BlockResult, apply_block, open_tx
from abci_app.tree import Tree
from network.chain_records import (
    DIRECTORY_KEY,
    Account,
    DirectoryRecord,
    NodeRecord,
    account_key,
    epoch_key,
    node_key,
)
from network.chain_tx import (
    CommitChallenges,
    GroupChange,
    Propose,
    ProveVrf,
    RegisterNode,
    RetireNode,
    SignedTx,
    TxKind,
    UpdateNode,
    UpgradePlan,
    ValidatorChange,
    Vote,
    build_tx,
    decode_tx,
)
from network.codec import encode
from network.crypto import SigningKey, exchange_public, sha256
from network.ids import Role, node_id

CHAIN = "state-test"
PARAMS = (
    '{"epoch_blocks": 6, "vrf_end": 1, "commit_end": 2, "send_end": 3, "publish_end": 4, "score_end": 5, "reveal_end": 6,'
    ' "lifetime_epochs": 1, "registration_work": 0}'
)
KEYS = [SigningKey(sha256(b"transition", bytes([number]))) for number in range(6)]


def genesis(initial_height: int = 1) -> State:
    verifiers = ", ".join(
        f'{{"consensus_key": "{KEYS[i].public.hex()}", "verifier_key": "{KEYS[i + 2].public.hex()}", "name": "v{i}"}}'
        for i in range(2)
    )
    groups = f'[{{"name": "tiny", "model_hash": "{sha256(b"m").hex()}", "scheme": "llamacpp-mt19937-v1"}}]'
    document = f'{{"params": {PARAMS}, "verifiers": [{verifiers}], "groups": {groups}}}'
    validators = ((KEYS[0].public, 10), (KEYS[1].public, 10))
    return genesis_state(Genesis(CHAIN, initial_height, validators, document.encode()))


def context(height: int) -> BlockContext:
    """Every fifth block proves that the second validator misbehaved."""
    found = (Misbehavior(1, node_id(KEYS[1].public), height),) if height % 5 == 0 else ()
    mark = bytes([height % 256])
    return BlockContext(CHAIN, height, sha256(b"block", mark), sha256(b"commit", mark), found)


def registration(number: int, role: Role = Role.MODEL) -> RegisterNode:
    onion = exchange_public(sha256(b"onion", bytes([number])))
    if role == Role.USER:
        return RegisterNode(role, f"node-{number}", onion)
    group = ("tiny", sha256(b"m")) if role == Role.MODEL else ("", b"")
    return RegisterNode(role, f"node-{number}", onion, f"127.0.0.1:{8000 + number}", f"family-{number}", *group)


def tx(number: int, kind: TxKind, body: object, nonce: int, chain_id: str = CHAIN) -> bytes:
    return build_tx(kind, body, key=KEYS[number], chain_id=chain_id, nonce=nonce)  # type: ignore[arg-type]


def flatten(state: State) -> State:
    """The same rows without the forks that led to them: what a replica has after a restart."""
    return State(MemoryReader(dict(state.scan(b""))))


def hash_of(state: State) -> bytes:
    rows = sorted((leaf_index(key), leaf_hash(key, value)) for key, value in state.scan(b""))
    return app_hash(root_hash(rows))


def run(blocks: Sequence[Sequence[bytes]], *, restart: bool) -> tuple[bytes, list[BlockResult]]:
    state, results = flatten(genesis()), []
    for height, txs in enumerate(blocks, start=1):
        state, result = apply_block(state, Block(context(height), tuple(txs)))
        results.append(result)
        if restart:
            state = flatten(state)
    return hash_of(state), results


changes = st.one_of(
    st.builds(lambda quota: {"params": replace(DEFAULT, tx_quota=quota, voting_blocks=5)}, st.integers(8, 12)),
    st.builds(
        lambda number, power: {
            "validator": ValidatorChange(KEYS[number].public, sha256(KEYS[number].public), power, f"v{number}")
        },
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    st.builds(lambda mark: {"group": GroupChange("new", mark, "s" if mark else "")}, st.sampled_from([b"", bytes(32)])),
    st.builds(lambda at: {"upgrade": UpgradePlan("next", at, 2)}, st.integers(1, 40)),
    st.just({"cancel": "next"}),
)
bodies = st.one_of(
    st.builds(lambda n, r: (TxKind.REGISTER_NODE, registration(n, r)), st.integers(0, 5), st.sampled_from(list(Role))),
    st.builds(lambda n: (TxKind.UPDATE_NODE, UpdateNode(address=f"127.0.0.1:{9000 + n}")), st.integers(0, 2)),
    st.just((TxKind.UPDATE_NODE, UpdateNode())),
    st.just((TxKind.RETIRE_NODE, RetireNode())),
    st.builds(lambda e: (TxKind.COMMIT_CHALLENGES, CommitChallenges(e, (bytes(32),) * 16)), st.integers(0, 3)),
    st.builds(lambda e: (TxKind.PROVE_VRF, ProveVrf(e, bytes(80))), st.integers(0, 3)),
    st.builds(lambda change: (TxKind.PROPOSE, Propose("change", **change)), changes),
    st.builds(lambda number, approve: (TxKind.VOTE, Vote(number, approve)), st.integers(1, 3), st.booleans()),
)
transactions = st.builds(
    lambda number, body, nonce, chain: tx(number, body[0], body[1], nonce, chain),
    st.sampled_from([0, 1, 2, 2, 3, 3, 4, 5]),
    bodies,
    st.integers(1, 40),
    st.sampled_from([CHAIN, CHAIN, CHAIN, CHAIN, "another"]),
)
block_lists = st.lists(st.lists(st.one_of(transactions, st.binary(max_size=40)), max_size=5), min_size=1, max_size=14)


@patch.object(upgrade, "SUPPORTED_APP_VERSION", 2)
@settings(max_examples=80, deadline=None)
@given(block_lists)
def test_replicas_with_different_histories_agree(blocks: list[list[bytes]]) -> None:
    """[APP-DET-1] One replica keeps every fork in memory, one restarts after every block, one stores the tree."""
    kept, kept_results = run(blocks, restart=False)
    restarted, restarted_results = run(blocks, restart=True)
    assert kept == restarted
    assert kept_results == restarted_results
    nodes: dict[bytes, bytes] = {}
    state = flatten(genesis())
    changes = list(state.scan(b""))
    for height, txs in enumerate([*blocks, []], start=1):
        root, writes = Tree(nodes).update(changes)
        nodes = {key: value for key, value in {**nodes, **writes}.items() if value is not None}
        assert app_hash(root) == hash_of(state)
        before = flatten(state)
        # A candidate block that is tried and dropped leaves no trace.
        apply_block(before, Block(context(height), tuple(reversed(txs))))
        after, _ = apply_block(before, Block(context(height), tuple(txs)))
        changes, state = after.changes(), after


SCRIPT = """
import sys
sys.path[:0] = [sys.argv[1]]
import importlib.util
spec = importlib.util.spec_from_file_location("machine", sys.argv[2])
machine = importlib.util.module_from_spec(spec)
sys.modules["machine"] = machine
spec.loader.exec_module(machine)
print(machine.scripted_hash().hex())
"""


def scripted_hash() -> bytes:
    """A fixed run that touches every kind of row a stranger can make."""
    blocks: list[list[bytes]] = []
    for height in range(1, 20):
        txs = [tx(n, TxKind.REGISTER_NODE, registration(n, list(Role)[n % 3]), height) for n in range(6) if height == n + 1]
        txs += [tx(n, TxKind.UPDATE_NODE, UpdateNode(), height + 20) for n in range(6) if height % (n + 2) == 0]
        txs += [
            tx(n + 2, TxKind.COMMIT_CHALLENGES, CommitChallenges(height // 6, (bytes(32),) * 16), 60 + height) for n in (0, 1)
        ]
        blocks.append(txs)
    return run(blocks, restart=True)[0]


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_another_process_with_another_hash_seed_agrees(seed: str) -> None:
    """[APP-DET-2] Nothing depends on the order of a set or a hash, on the locale, or on the time zone."""
    env = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": "C", "TZ": "Pacific/Apia"}
    here = Path(__file__).resolve()
    command = [sys.executable, "-c", SCRIPT, str(here.parents[3]), str(here)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == scripted_hash().hex()


def test_a_failed_transaction_keeps_its_nonce_and_nothing_else() -> None:
    start, _ = apply_block(flatten(genesis()), Block(context(1), (tx(0, TxKind.REGISTER_NODE, registration(0), 6),)))
    start = flatten(start)
    again = tx(0, TxKind.REGISTER_NODE, registration(0), 7)
    after, result = apply_block(start, Block(context(2), (again,)))
    [failed] = result.tx_results
    assert (failed.code, failed.events, failed.codespace) == (errors.ALREADY_REGISTERED, (), "planetserve")
    empty, _ = apply_block(start, Block(context(2), ()))
    assert dict(after.scan(b"")) == {**dict(empty.scan(b"")), account_key(KEYS[0].public): encode(Account(7, 0, 2))}


def test_a_stranger_that_fails_leaves_nothing() -> None:
    start = flatten(genesis())
    unknown = tx(0, TxKind.REGISTER_NODE, replace(registration(0), group="nowhere"), 7)
    other = tx(1, TxKind.UPDATE_NODE, UpdateNode(), 7)
    after, result = apply_block(start, Block(context(1), (unknown, other)))
    assert [failed.code for failed in result.tx_results] == [errors.UNKNOWN_GROUP, errors.UNKNOWN_SIGNER]
    empty, _ = apply_block(start, Block(context(1), ()))
    assert dict(after.scan(b"")) == dict(empty.scan(b""))


@pytest.mark.parametrize("fault", ["oversized", "garbage", "unknown kind", "forged", "other chain", "stale", "twice"])
def test_a_transaction_without_right_changes_nothing(fault: str) -> None:
    start, _ = apply_block(flatten(genesis()), Block(context(1), (tx(1, TxKind.REGISTER_NODE, registration(1), 5),)))
    good = tx(0, TxKind.REGISTER_NODE, registration(0), 9)
    parts: SignedTx = decode_tx(good)
    raw, code = {
        "oversized": (bytes(65537), errors.TOO_LARGE),
        "garbage": (good[:-1], errors.MALFORMED),
        "unknown kind": (encode(replace(parts, kind=77)), errors.UNKNOWN_KIND),
        "forged": (encode(replace(parts, signer=KEYS[1].public)), errors.BAD_SIGNATURE),
        "other chain": (tx(0, TxKind.REGISTER_NODE, registration(0), 9, "elsewhere"), errors.BAD_SIGNATURE),
        "stale": (tx(1, TxKind.UPDATE_NODE, UpdateNode(), 5), errors.STALE_NONCE),
        "twice": (tx(1, TxKind.REGISTER_NODE, registration(1), 5), errors.STALE_NONCE),
    }[fault]
    after, result = apply_block(flatten(start), Block(context(2), (raw,)))
    empty, _ = apply_block(flatten(start), Block(context(2), ()))
    assert result.tx_results[0].code == code
    assert dict(after.scan(b"")) == dict(empty.scan(b""))


def test_successes_carry_the_message_event_and_results_keep_the_order() -> None:
    txs = (tx(0, TxKind.REGISTER_NODE, registration(0), 1), b"junk", tx(0, TxKind.RETIRE_NODE, RetireNode(), 2))
    _, result = apply_block(genesis(), Block(context(1), txs))
    assert [entry.code for entry in result.tx_results] == [0, errors.MALFORMED, 0]
    first = result.tx_results[0].events
    sender = KEYS[0].public.hex()
    assert first[0] == Event("message", (("action", "register_node"), ("sender", sender), ("module", "ledger")))
    assert first[1].kind == "node_registered"


def test_the_directory_follows_membership_and_epochs() -> None:
    state = genesis()
    written: dict[int, DirectoryRecord] = {}
    plan = {
        1: [tx(0, TxKind.REGISTER_NODE, registration(0), 1), tx(1, TxKind.REGISTER_NODE, registration(1, Role.RELAY), 1)],
        8: [tx(1, TxKind.UPDATE_NODE, UpdateNode(address="127.0.0.1:7777"), 2)],
        13: [tx(1, TxKind.UPDATE_NODE, UpdateNode(), 3)],
        20: [tx(1, TxKind.RETIRE_NODE, RetireNode(), 4)],
    }
    for height in range(1, 25):
        state, result = apply_block(state, Block(context(height), tuple(plan.get(height, []))))
        assert all(entry.code == 0 for entry in result.tx_results), result
        if any(event.kind == "directory_written" for event in result.events):
            record = state.load(DirectoryRecord, DIRECTORY_KEY)
            assert record is not None and record.height == height
            written[height] = record
    names = {height: [entry.name for entry in record.entries] for height, record in written.items()}
    order = [entry.name for entry in written[3].entries]
    assert sorted(order) == ["node-0", "node-1"]
    # 3: registrations; 6, 12, 18, 24: epochs end; 9: a changed address; 21: a retirement. Not 15: a renewal changes nothing.
    assert names == {3: order, 6: order, 9: order, 12: ["node-1"], 18: ["node-1"], 21: [], 24: []}
    assert written[9].previous == sha256(encode(written[6]))
    assert next(entry for entry in written[9].entries if entry.name == "node-1").address == "127.0.0.1:7777"


def test_a_full_directory_refuses_registrations_until_a_node_leaves() -> None:
    state = genesis()
    params = state.load(type(directory.parameters(state)), b"\x03params")
    assert params is not None
    state.save(b"\x03params", replace(params, max_nodes=1))
    first = tx(0, TxKind.REGISTER_NODE, registration(0), 1)
    second = tx(1, TxKind.REGISTER_NODE, registration(1), 1)
    state, result = apply_block(state, Block(context(1), (first, second)))
    assert [entry.code for entry in result.tx_results] == [0, errors.DIRECTORY_FULL]
    for height in range(2, 4):
        retire = (tx(0, TxKind.RETIRE_NODE, RetireNode(), 2),) if height == 2 else ()
        state, _ = apply_block(state, Block(context(height), retire))
    state, result = apply_block(state, Block(context(4), (tx(1, TxKind.REGISTER_NODE, registration(1), 2),)))
    assert result.tx_results[0].code == 0


def test_a_second_key_on_a_leaf_is_refused_and_a_hook_outranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indices of three chosen keys are made equal: two strangers' accounts, and an archive row that an epoch's end writes."""
    same = {account_key(KEYS[0].public), account_key(KEYS[1].public), epoch_key(0)}

    def index(key: bytes) -> int:
        return 5 if key in same else leaf_index(key)

    monkeypatch.setattr(transition, "leaf_index", index)
    monkeypatch.setattr(
        MemoryReader, "occupant", lambda self, at: next((key for key in sorted(self.rows) if index(key) == at), None)
    )
    state = flatten(genesis())
    txs = (tx(0, TxKind.REGISTER_NODE, registration(0), 1), tx(1, TxKind.REGISTER_NODE, registration(1), 1))
    state, result = apply_block(state, Block(context(1), txs))
    assert [entry.code for entry in result.tx_results] == [0, errors.KEY_COLLISION]
    assert state.get(account_key(KEYS[1].public)) is None and state.get(node_key(node_id(KEYS[1].public))) is None
    state, result = apply_block(flatten(state), Block(context(2), txs[1:]))
    assert result.tx_results[0].code == errors.KEY_COLLISION, "also against rows that are committed"
    for height in range(3, 7):
        state, result = apply_block(flatten(state), Block(context(height), ()))
    assert state.get(epoch_key(0)) is not None and state.get(account_key(KEYS[0].public)) is None
    assert Event("row_evicted", (("key", account_key(KEYS[0].public).hex()),)) in result.events


def test_a_remembered_envelope_does_not_change_the_outcome() -> None:
    txs = (tx(0, TxKind.REGISTER_NODE, registration(0), 1), b"junk")
    known = {raw: open_tx(raw, CHAIN) for raw in txs[:1]}
    plain = apply_block(genesis(), Block(context(1), txs))
    cached = apply_block(genesis(), Block(context(1), txs), lambda raw, chain: known.get(raw) or open_tx(raw, chain))
    assert plain[1] == cached[1] and plain[0].changes() == cached[0].changes()


def test_a_node_that_falls_silent_leaves_the_directory() -> None:
    state, _ = apply_block(genesis(), Block(context(1), (tx(0, TxKind.REGISTER_NODE, registration(0), 1),)))
    for height in range(2, 20):
        state, _ = apply_block(state, Block(context(height), ()))
    record = state.load(DirectoryRecord, DIRECTORY_KEY)
    assert record is not None and record.entries == ()
    node = state.load(NodeRecord, node_key(node_id(KEYS[0].public)))
    assert node is not None and not node.retired
    state, result = apply_block(state, Block(context(20), (tx(0, TxKind.UPDATE_NODE, UpdateNode(), 2),)))
    assert result.tx_results[0].code == 0
    state, _ = apply_block(state, Block(context(21), ()))
    record = state.load(DirectoryRecord, DIRECTORY_KEY)
    assert record is not None and len(record.entries) == 1, "a renewal brings it back"
