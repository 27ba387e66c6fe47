"""A chain that ends and goes on from an exported genesis: same app hash, same rows, and blocks that follow alike."""

import json
from pathlib import Path
from typing import Any

import pytest

from abci_app.aio.storage import LevelStore
from abci_app.application import Application
from abci_app.config import GenesisValidator, render_genesis
from abci_app.genesis_document import export_genesis
from abci_app.state.app_hash import app_hash, leaf_hash, leaf_index, root_hash
from abci_app.state.context import BlockContext
from abci_app.state.genesis import Genesis
from abci_app.state.state import MemoryReader
from network.chain_records import VERSION_KEY, VersionRecord
from network.chain_tx import RegisterNode, TxKind, build_tx
from network.codec import encode
from network.crypto import SigningKey, exchange_public, sha256
from network.errors import ConfigError
from network.ids import Role

CHAIN = "export-test"
KEYS = [SigningKey(sha256(b"export", bytes([number]))) for number in range(6)]
ORIGINAL = json.loads(
    render_genesis(CHAIN, "2026-01-01T00:00:00Z", [GenesisValidator("v", KEYS[0].public, KEYS[1].public, 7)], [], {})
)


def begin(path: Path, document: Any) -> tuple[Application, LevelStore, bytes]:
    """An application that has had InitChain with what CometBFT would take from the document."""
    app_state = json.dumps(document["app_state"]).encode()
    store = LevelStore(path, chain_id=CHAIN, genesis_hash=bytes(32))
    app = Application(store, CHAIN, app_state)
    validators = tuple((KEYS[0].public, int(entry["power"])) for entry in document["validators"])
    return app, store, app.init_chain(Genesis(CHAIN, int(document["initial_height"]), validators, app_state))


def advance(app: Application, height: int) -> bytes:
    txs = []
    if height % 2:
        key = KEYS[2 + height % 4]
        body = RegisterNode(Role.USER, f"user-{height}", exchange_public(sha256(bytes([height]))))
        txs = [build_tx(TxKind.REGISTER_NODE, body, key=key, chain_id=CHAIN, nonce=height)]
    block = BlockContext(CHAIN, height, sha256(bytes([height])), sha256(b"c", bytes([height])))
    found = app.finalize_block(block, txs)[1]
    app.commit()
    return found


def test_the_chain_goes_on_with_the_same_app_hash(tmp_path: Path) -> None:
    app, store, _ = begin(tmp_path / "old", ORIGINAL)
    for height in range(1, 13):
        advance(app, height)
    text = export_genesis(ORIGINAL, store.version(10), 10, advance_to(tmp_path / "ten", 10), "2026-02-01T00:00:00Z")
    document = json.loads(text)
    assert (document["initial_height"], document["genesis_time"]) == ("11", "2026-02-01T00:00:00Z")
    assert document["validators"] == ORIGINAL["validators"] and document["consensus_params"] == ORIGINAL["consensus_params"]
    new, new_store, first = begin(tmp_path / "new", document)
    assert first.hex().upper() == document["app_hash"]
    for height in (11, 12):
        assert advance(new, height) == advance_to(tmp_path / f"to{height}", height)
    assert list(new_store.version(12).scan(b"")) == list(store.version(12).scan(b""))
    assert new_store.version(10).get(b"\x03params") == store.version(10).get(b"\x03params")
    new_store.verify_all()
    again = export_genesis(document, new_store.version(10), 10, bytes.fromhex(document["app_hash"]), document["genesis_time"])
    assert again == text, "exporting an imported chain gives the same document"


def advance_to(path: Path, height: int) -> bytes:
    app, store, found = begin(path, ORIGINAL)
    for at in range(1, height + 1):
        found = advance(app, at)
    store.close()
    return found


def test_the_version_of_the_state_is_the_documents() -> None:
    """Upgraded since genesis: CometBFT must begin with the version that the state is of."""
    rows = {VERSION_KEY: encode(VersionRecord(3, "third", 9))}
    reader = MemoryReader(rows)
    expected = app_hash(root_hash([(leaf_index(key), leaf_hash(key, value)) for key, value in rows.items()]))
    document = json.loads(export_genesis(ORIGINAL, reader, 9, expected, "2026-02-01T00:00:00Z"))
    assert document["consensus_params"] == {**ORIGINAL["consensus_params"], "version": {"app": "3"}}
    assert json.loads(export_genesis({"chain_id": CHAIN}, reader, 9, expected, "x"))["consensus_params"] == {
        "version": {"app": "3"}
    }


def test_rows_that_do_not_lead_to_the_app_hash_are_not_exported(tmp_path: Path) -> None:
    app, store, _ = begin(tmp_path / "db", ORIGINAL)
    advance(app, 1)
    with pytest.raises(ConfigError, match="do not lead"):
        export_genesis(ORIGINAL, store.version(1), 1, bytes(32), "2026-02-01T00:00:00Z")
