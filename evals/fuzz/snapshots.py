"""Targets of state sync: a peer's metadata, its chunks, and an exported genesis. Taken means: it is what the state holds."""

import json
from collections.abc import Sequence
from functools import cache
from unittest.mock import patch

from abci_app import snapshot
from abci_app.snapshot import Chunk, Part, Snapshot, decode_snapshot, take
from abci_app.state.errors import UpgradeNeeded
from abci_app.state.export import exported_state
from abci_app.state.genesis import Genesis as AbciGenesis
from abci_app.state.genesis import genesis_state
from abci_app.state_sync import Outcome, Restore, Verdict, offer_of
from evals.fuzz.abci import application, living_town
from evals.fuzz.engine import Target
from evals.fuzz.mutate import bend_json
from evals.ledger.simulator.sync import MemorySide
from evals.ledger.simulator.world import CHAIN_ID
from network.chain_records import VALIDATOR_PREFIX, ValidatorRecord
from network.codec import decode
from network.crypto import sha256
from network.errors import ConfigError, DecodeError

CHUNK_BYTES = 3_000  # small, so that a small state has many parts


def targets() -> list[Target]:
    """Everything that a restoring replica reads of strangers, and an importing one of a file."""
    return [_metadata(), _chunks(), _export()]


@cache
def honest() -> tuple[Snapshot, tuple[bytes, ...]]:
    """A snapshot of the living town, and its chunks."""
    store = application(living_town()).store
    chunks: list[bytes] = []
    with patch.object(snapshot, "CHUNK_TARGET", CHUNK_BYTES):
        for step in take(store.version(store.height), CHAIN_ID, store.height, store.app_hash):
            if isinstance(step, Chunk):
                chunks.append(step.raw)
            elif isinstance(step, Snapshot):
                return step, tuple(chunks)
    raise AssertionError("no snapshot came of it")


def _metadata() -> Target:
    right, _ = honest()

    def run(raw: bytes) -> str:
        try:
            found = decode_snapshot(raw)
        except DecodeError as error:
            return str(error)
        assert found.metadata == raw, "two encodings of one snapshot"
        offer = offer_of(found)
        verdict = Restore(CHAIN_ID, _nowhere).offer(offer, right.app_hash)
        if verdict is not Verdict.ACCEPT:
            return verdict.name
        subtrees = [(part.depth, part.prefix, part.subtree) for part in found.parts]
        assert subtrees == [(part.depth, part.prefix, part.subtree) for part in right.parts] or _coarser(found.parts)
        return "taken"

    return Target("snapshots/metadata", "parts that lead to the app hash, or a refusal", [right.metadata], run)


def _coarser(parts: Sequence[Part]) -> bool:
    """Whether the parts are fewer and larger than ours: another cut of the same tree."""
    return len(parts) < len(honest()[0].parts)


def _nowhere(_height: int, _trusted: bytes) -> MemorySide:
    return MemorySide(lambda _rows, _nodes: None)


def _chunks() -> Target:
    """An input is the chunk's number u8 | its bytes; the metadata names the bent chunk's hash, as a liar's would."""
    right, chunks = honest()

    def run(raw: bytes) -> str:
        if not raw:
            return "too short"
        at, chunk = raw[0] % len(chunks), raw[1:]
        parts = list(right.parts)
        parts[at] = parts[at]._replace(chunk=sha256(chunk))
        lie = Snapshot(right.chain_id, right.height, right.app_hash, tuple(parts))
        restore = Restore(CHAIN_ID, _nowhere)
        assert restore.offer(offer_of(lie), right.app_hash) is Verdict.ACCEPT
        outcome = restore.apply(at, chunk, "mallory").outcome
        if outcome is not Outcome.ACCEPT:
            return outcome.name
        assert chunk == chunks[at], "rows that the state does not hold were restored"
        return "taken"

    seeds = [bytes([at]) + chunk for at, chunk in enumerate(chunks[:40])]
    return Target("snapshots/chunks", "only the rows that lead to the app hash are restored", seeds, run)


def _export() -> Target:
    store = application(living_town()).store
    rows = list(store.version(store.height).scan(b""))
    document = exported_state(rows, store.height, store.app_hash)
    records = [decode(ValidatorRecord, value) for key, value in rows if key.startswith(VALIDATOR_PREFIX)]
    validators = tuple((record.consensus_key, record.power) for record in records if record.power)

    def run(raw: bytes) -> str:
        try:
            state = genesis_state(AbciGenesis(CHAIN_ID, store.height + 1, validators, raw))
        except (ConfigError, UpgradeNeeded) as error:
            assert str(error)
            return str(error)
        found = json.loads(raw)
        if "rows" in found and found.get("app_hash") == store.app_hash.hex():
            assert state.changes() == sorted(rows), "other rows under the same app hash"
        return "taken"

    return Target("snapshots/export", "an exported state, or a refusal", [json.dumps(document).encode()], run, bend_json)
