"""Golden vectors: every transaction kind, record and key, and a run of blocks with its app hashes, byte for byte.

They say what another implementation must make of the same input, and that no change of ours moves a byte unseen. A change
that is meant to (a new application version) writes them anew: PYTHONPATH=. python tests/abci_app/state/test_vectors.py --write
"""

import dataclasses
import json
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from abci_app.state.app_hash import app_hash, leaf_hash, leaf_index, root_hash
from abci_app.state.challenge import leader_input, running_epoch
from abci_app.state.context import BlockContext, Misbehavior
from abci_app.state.directory import MEMBERSHIP_KEY, Membership
from abci_app.state.genesis import Genesis, genesis_state
from abci_app.state.params import DEFAULT
from abci_app.state.state import MemoryReader, State
from abci_app.state.transition import Block, BlockResult, apply_block
from network import chain_records as records
from network import chain_tx as txs
from network import vrf
from network.chain_tx import BODIES, TxKind, build_tx, decode_tx, sign_bytes, verify_tx
from network.codec import Message, decode, encode
from network.crypto import SigningKey, exchange_public, sha256
from network.ids import Role, node_id
from network.inference import STATEMENT_DOMAIN, Finish, ReplyStatement, Sampling
from network.registration_work import solve

FOLDER = Path(__file__).resolve().parents[2] / "vectors"
CHAIN = "vectors"
BITS = 8
KEY, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(range(32, 64)))
H = [sha256(b"vector", bytes([number])) for number in range(8)]
ONION = exchange_public(H[0])
HYBRID = bytes(range(12)) * 96 + H[1] + exchange_public(H[2])  # 1,152 bytes of numbers below 3329, a seed, a point
SAMPLING = Sampling(600, 40, 950, 64)
CHALLENGE = txs.Challenge(7, node_id(H[1]), 0, H[2], SAMPLING, b'{"messages":[]}', H[3])
STATEMENT = ReplyStatement(STATEMENT_DOMAIN, H[2], node_id(H[1]), H[4], H[5], SAMPLING, (5, 70000, 1), Finish.STOP)
TRANSCRIPT = txs.Transcript(txs.challenge_hash(CHALLENGE), STATEMENT, bytes(range(64)), node_id(H[1]))
SCORE = txs.Score(H[6], 812_000_000, txs.EVIDENCE_OFFSET - 1500)
SHEET = txs.ScoreSheet(7, node_id(H[1]), (SCORE,), H[7])
PROPOSAL = txs.Propose("New member", validator=txs.ValidatorChange(H[7], H[5], 12, "new"))
SAMPLE_BODIES: dict[TxKind, list[Message]] = {
    TxKind.REGISTER_NODE: [
        txs.RegisterNode(Role.MODEL, "model-1", ONION, "model.example.org:443", "family", "tiny", H[4], 7, 12345),
        txs.RegisterNode(Role.USER, "me", ONION),
        txs.RegisterNode(Role.MODEL, "model-2", ONION, "model.example.org:444", "family", "tiny", H[4], hybrid_key=HYBRID),
    ],
    TxKind.UPDATE_NODE: [txs.UpdateNode(), txs.UpdateNode(ONION, "[::1]:8800"), txs.UpdateNode(ONION, hybrid_key=HYBRID)],
    TxKind.RETIRE_NODE: [txs.RetireNode()],
    TxKind.PROVE_VRF: [txs.ProveVrf(7, bytes(range(80)))],
    TxKind.COMMIT_CHALLENGES: [txs.CommitChallenges(7, (H[1], H[2]))],
    TxKind.OPEN_CHALLENGES: [txs.OpenChallenges(7, (CHALLENGE,), bytes(range(80)))],
    TxKind.PUBLISH_TRANSCRIPTS: [txs.PublishTranscripts(7, (TRANSCRIPT, txs.Transcript(H[1])))],
    TxKind.COMMIT_SCORES: [txs.CommitScores(7, txs.sheet_hash(SHEET))],
    TxKind.REVEAL_SCORES: [txs.RevealScores(SHEET)],
    TxKind.PROPOSE: [
        PROPOSAL,
        txs.Propose("Parameters", params=DEFAULT),
        txs.Propose("Group", group=txs.GroupChange("tiny", H[4], "llamacpp-mt19937-v1")),
        txs.Propose("Upgrade", upgrade=txs.UpgradePlan("next", 1_000_000, 2)),
        txs.Propose("No upgrade", cancel="next"),
    ],
    TxKind.VOTE: [txs.Vote(3, True), txs.Vote(4)],
}
NODE = records.NodeRecord(
    H[1], Role.MODEL, "m", ONION, "a:1", "f", "tiny", H[4], 500_000_000, True, False, 9, 7, (0, 800_000_000), 1
)  # fmt: skip
ENTRY = records.DirectoryEntry(
    node_id(H[1]), H[1], ONION, Role.MODEL, "m", "a:1", "f", "tiny", H[4], 500_000_000, True
)  # fmt: skip
RESULT = records.NodeResult(node_id(H[1]), 3, 2, 1, 800_000_000, 500_000_000, 680_000_000, True, "clean")
EPOCH = records.EpochRecord(7, 421, H[3], node_id(H[2]), 480, (RESULT,))
SAMPLE_RECORDS: list[tuple[bytes, Message]] = [
    (records.account_key(H[1]), records.Account(1_700_000_000_000, 7, 3, True)),
    (records.node_key(node_id(H[1])), NODE),
    (records.node_key(node_id(H[1])), dataclasses.replace(NODE, hybrid_key=HYBRID)),
    (records.PARAMS_KEY, DEFAULT),
    (records.CURRENT_EPOCH_KEY, records.EpochRecord(8, 481)),
    (records.epoch_key(7), EPOCH),
    (records.DIRECTORY_KEY, records.DirectoryRecord(CHAIN, 7, 480, H[5], (ENTRY,))),
    (
        records.DIRECTORY_KEY,
        records.DirectoryRecord(CHAIN, 7, 480, H[5], (dataclasses.replace(ENTRY, hybrid_key=HYBRID),)),
    ),
    (records.vrf_key(7, node_id(H[2])), records.VrfRecord(bytes(range(80)), bytes(range(64)))),
    (records.commitment_key(7, node_id(H[2])), txs.CommitChallenges(7, (H[1], H[2]))),
    (records.transcript_key(7, H[6]), records.TranscriptRecord(node_id(H[2]), CHALLENGE, TRANSCRIPT, SCORE, 4)),
    (records.score_commitment_key(7, node_id(H[2])), txs.CommitScores(7, H[3])),
    (records.sheet_key(7, node_id(H[2])), SHEET),
    (records.validator_key(node_id(H[2])), records.ValidatorRecord(H[2], H[3], 0, "v", True, 6, 17)),
    (records.group_key("tiny"), records.ModelGroup("tiny", H[4], "llamacpp-mt19937-v1")),
    (MEMBERSHIP_KEY, Membership(3, True)),
    (records.opened_key(7, node_id(H[2])), records.OpenedChallenges((H[6],))),
    (
        records.proposal_key(3),
        records.ProposalRecord(
            3, node_id(H[2]), PROPOSAL, records.ProposalStatus.FAILED, 9, 99, 12,
            (records.CastVote(node_id(H[2]), True), records.CastVote(node_id(H[3]))), "why not",
        ),
    ),
    (records.GOVERNANCE_KEY, records.GovernanceRecord(4, (records.PendingProposal(4, node_id(H[2]), 99, True),))),
    (records.evidence_key(7, node_id(H[2]), 1), records.EvidenceRecord(node_id(H[2]), 1, 7, 9)),
    (records.UPGRADE_KEY, txs.UpgradePlan("next", 1_000_000, 2)),
    (records.VERSION_KEY, records.VersionRecord(2, "next", 1_000_000)),
]  # fmt: skip


def readable(value: Any) -> Any:
    """A message as JSON: what the bytes beside it mean."""
    if isinstance(value, Message) and dataclasses.is_dataclass(value):
        return {field.name: readable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [readable(item) for item in value]
    return int(value) if isinstance(value, Enum) else value


def make_txs() -> list[dict[str, Any]]:
    rows = []
    for kind, bodies in SAMPLE_BODIES.items():
        for number, body in enumerate(bodies):
            raw = build_tx(kind, body, key=KEY, chain_id=CHAIN, nonce=1_700_000_000_000 + number)
            tx = decode_tx(raw)
            rows.append(
                {
                    "kind": int(kind),
                    "name": type(body).__name__,
                    "nonce": tx.nonce,
                    "fields": readable(body),
                    "body": tx.body.hex(),
                    "sign_bytes": sign_bytes(tx, CHAIN).hex(),
                    "tx": raw.hex(),
                }
            )
    return rows


def make_records() -> list[dict[str, Any]]:
    return [
        {"name": type(record).__name__, "key": key.hex(), "fields": readable(record), "value": encode(record).hex()}
        for key, record in SAMPLE_RECORDS
    ]


def genesis_document() -> dict[str, Any]:
    windows = ("vrf_end", "commit_end", "send_end", "publish_end", "score_end", "reveal_end")
    return {
        "params": {
            **{name: offset for offset, name in enumerate(windows, start=1)},
            "epoch_blocks": 6,
            "registration_work": BITS,
            "slots": 1,
        },
        "verifiers": [
            {"consensus_key": H[n].hex(), "verifier_key": key.public.hex(), "name": f"v{n}"}
            for n, key in enumerate((KEY, OTHER))
        ],
        "groups": [{"name": "tiny", "model_hash": H[4].hex(), "scheme": "llamacpp-mt19937-v1"}],
    }


class Run:
    """A scripted chain of two members, and what becomes of its state."""

    def __init__(self) -> None:
        document = json.dumps(genesis_document()).encode()
        self.state: State = genesis_state(Genesis(CHAIN, 1, ((H[0], 10), (H[1], 10)), document))
        self._nonce = 0

    def tx(self, key: SigningKey, kind: TxKind, body: Message) -> bytes:
        self._nonce += 1
        return build_tx(kind, body, key=key, chain_id=CHAIN, nonce=self._nonce)

    def script(self, height: int) -> tuple[list[bytes], tuple[Misbehavior, ...]]:
        """The block at this height: registrations, a VRF, votes that add a validator and a group, evidence, a departure."""
        node = SigningKey(H[6])
        work = (0, solve(CHAIN, 0, node.public, BITS))
        join = txs.RegisterNode(Role.MODEL, "model-1", ONION, "a.example:1", "f", "tiny", H[4], *work)
        match height:
            case 1:
                return [self.tx(node, TxKind.UPDATE_NODE, txs.UpdateNode()), self.tx(node, TxKind.REGISTER_NODE, join)], ()
            case 2:
                group = txs.Propose("Group", group=txs.GroupChange("new", H[5], "gumbel-v1"))
                return [self.tx(KEY, TxKind.PROPOSE, group), self.tx(OTHER, TxKind.PROPOSE, PROPOSAL)], ()
            case 3:
                votes = [(OTHER, 1), (KEY, 2), (KEY, 1)]
                return [self.tx(key, TxKind.VOTE, txs.Vote(number, True)) for key, number in votes], ()
            case 7:
                proof = vrf.prove(KEY.seed, leader_input(self._next_beacon()))
                return [self.tx(KEY, TxKind.PROVE_VRF, txs.ProveVrf(1, proof))], ()
            case 8:
                commitment = txs.CommitChallenges(1, (H[2],))
                return [self.tx(KEY, TxKind.COMMIT_CHALLENGES, commitment)], (Misbehavior(1, node_id(H[1]), 4),)
            case 9:
                moved = txs.UpdateNode(address="b.example:2")
                return [self.tx(node, TxKind.UPDATE_NODE, moved), self.tx(OTHER, TxKind.VOTE, txs.Vote(1, True))], ()
            case 13:
                return [self.tx(node, TxKind.RETIRE_NODE, txs.RetireNode())], ()
        return [], ()

    def block(self, height: int) -> tuple[BlockContext, list[bytes], BlockResult]:
        chosen, misbehavior = self.script(height)
        context = self._context(height, misbehavior)
        after, result = apply_block(self.state, Block(context, tuple(chosen)))
        self.state = State(MemoryReader(dict(after.scan(b""))))
        return context, chosen, result

    def hash(self) -> bytes:
        leaves = sorted((leaf_index(key), leaf_hash(key, value)) for key, value in self.state.scan(b""))
        return app_hash(root_hash(leaves))

    def _context(self, height: int, misbehavior: tuple[Misbehavior, ...] = ()) -> BlockContext:
        mark = bytes([height])
        return BlockContext(CHAIN, height, sha256(b"block", mark), sha256(b"commit", mark), misbehavior)

    def _next_beacon(self) -> bytes:
        """The beacon that the epoch's first block will derive."""
        return running_epoch(apply_block(self.state, Block(self._context(7), ()))[0]).beacon


def make_run() -> dict[str, Any]:
    run = Run()
    blocks: list[dict[str, Any]] = []
    document: dict[str, Any] = {
        "chain_id": CHAIN,
        "validators": [{"consensus_key": H[n].hex(), "power": 10} for n in (0, 1)],
        "app_state": genesis_document(),
        "genesis_app_hash": run.hash().hex(),
        "blocks": blocks,
    }
    for height in range(1, 20):
        context, chosen, result = run.block(height)
        blocks.append(
            {
                "height": height,
                "block_hash": context.block_hash.hex(),
                "last_commit_hash": context.last_commit_hash.hex(),
                "misbehavior": [[case.kind, case.address.hex(), case.height] for case in context.misbehavior],
                "txs": [raw.hex() for raw in chosen],
                "codes": [entry.code for entry in result.tx_results],
                "validator_updates": [[entry.consensus_key.hex(), entry.power] for entry in result.validator_updates],
                "app_hash": run.hash().hex(),
            }
        )
    return document


MAKERS = {"ledger_txs.json": make_txs, "ledger_records.json": make_records, "ledger_run.json": make_run}


@pytest.mark.parametrize("name", MAKERS)
def test_the_bytes_are_as_they_were(name: str) -> None:
    assert MAKERS[name]() == json.loads((FOLDER / name).read_text())


def test_every_kind_has_vectors_that_decode_and_verify() -> None:
    rows = json.loads((FOLDER / "ledger_txs.json").read_text())
    assert {row["kind"] for row in rows} == set(TxKind)
    for row in rows:
        tx = decode_tx(bytes.fromhex(row["tx"]))
        assert verify_tx(tx, CHAIN) and not verify_tx(tx, CHAIN + "-2")
        assert readable(decode(BODIES[TxKind(tx.kind)], tx.body)) == row["fields"]


def test_every_record_and_key_prefix_has_a_vector() -> None:
    rows = json.loads((FOLDER / "ledger_records.json").read_text())
    prefixes = {int(row["key"][:2], 16) for row in rows}
    assert prefixes == {*range(1, 0x0A), *range(0x0B, 0x16)}
    for (key, record), row in zip(SAMPLE_RECORDS, rows, strict=True):
        assert key.hex() == row["key"] and decode(type(record), bytes.fromhex(row["value"])) == record


def test_the_run_reaches_what_it_is_about() -> None:
    blocks = json.loads((FOLDER / "ledger_run.json").read_text())["blocks"]
    assert [block["codes"] for block in blocks[:9]] == [[23, 0], [0, 0], [0, 0, 29], [], [], [], [0], [0], [0, 12]]
    assert [block["height"] for block in blocks if block["validator_updates"]] == [6, 8]
    assert len({block["app_hash"] for block in blocks}) > 10


if __name__ == "__main__":
    assert sys.argv[1:] == ["--write"], "the only argument is --write"
    for file, make in MAKERS.items():
        (FOLDER / file).write_text(json.dumps(make(), indent=1) + "\n")
