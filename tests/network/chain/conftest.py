"""A chain in a test: four validators that sign headers, the ledger's own tree for proofs, and CometBFT's JSON-RPC."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web

from abci_app.state.app_hash import app_hash
from abci_app.tree import Tree
from network.chain_records import STORE_NAME
from network.chain_tx import SignedTx, decode_tx, verify_tx
from network.codec import encode
from network.crypto import SigningKey, sha256
from network.light import (
    BlockId,
    CommitSignature,
    GenesisTrust,
    Header,
    SignedHeader,
    Timestamp,
    TrustedValidator,
    header_hash,
    merkle_root,
    precommit_bytes,
)
from network.proof import ABSENT, EMPTY_LEAF, OPERATOR, MerkleProof, ValueOp, leaf_hash

CHAIN = "test-chain"
NOW = 1_700_000_000.0


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@dataclass
class Chain:
    """Heights from 1; `states[h]` holds the rows after block h. `tamper` may change any result on its way out."""

    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey(bytes([at]) * 32) for at in (11, 12, 13, 14)])
    states: list[dict[bytes, bytes]] = field(default_factory=lambda: [{}])
    txs: list[list[bytes]] = field(default_factory=lambda: [[]])
    codes: dict[bytes, int] = field(default_factory=dict)
    headers: dict[int, SignedHeader] = field(default_factory=dict)
    time: float = NOW
    down: bool = False
    tamper: Callable[[str, Any], Any] = lambda method, result: result
    check_tx: Callable[[SignedTx], int] = lambda tx: 0
    deliver: bool = True
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    @property
    def trust(self) -> GenesisTrust:
        return GenesisTrust(CHAIN, 1, [TrustedValidator(key.public, 10) for key in self.keys])

    @property
    def height(self) -> int:
        return len(self.states) - 1

    def clock(self) -> float:
        return self.time

    def block(self, changes: dict[bytes, bytes] | None = None, txs: list[bytes] | None = None) -> int:
        """Decide one more block; its header carries the state before it."""
        number, before = len(self.states), self.states[-1]
        header = Header(
            11, 0, CHAIN, number, Timestamp(int(self.time), 5), BlockId(b"\x01" * 32, 1, b"\x02" * 32), b"\x03" * 32,
            merkle_root([sha256(tx) for tx in txs or []]), self.trust.validators_hash, self.trust.validators_hash, b"\x04" * 32,
            app_hash(self.tree(before).root()), b"\x05" * 32, b"\x06" * 32, b"\x07" * 20,
        )  # fmt: skip
        block_id = BlockId(header_hash(header), 1, b"\x08" * 32)
        signed = SignedHeader(header, number, 0, block_id, ())
        places = []
        for validator in self.trust.validators:
            key = next(key for key in self.keys if key.public == validator.public_key)
            message = precommit_bytes(signed, Timestamp(int(self.time), 9), CHAIN)
            places.append(CommitSignature(2, validator.address, Timestamp(int(self.time), 9), key.sign(message)))
        self.headers[number] = replace(signed, signatures=tuple(places))
        self.states.append({**before, **(changes or {})})
        self.txs.append(list(txs or []))
        return number

    def tree(self, rows: dict[bytes, bytes]) -> Tree:
        _, writes = Tree({}).update(list(rows.items()))
        return Tree({key: value for key, value in writes.items() if value is not None})

    def put(self, key: bytes, value: bytes) -> None:
        """Write one row and decide the block after it, so that it can be proven."""
        self.block({key: value})
        self.block()

    async def serve(self, request: web.Request) -> web.Response:
        if self.down:
            return web.Response(status=502, text="bad gateway")
        body = await request.json()
        method, params = body["method"], body["params"]
        self.calls.append((method, params))
        try:
            result = self.tamper(method, getattr(self, f"do_{method}")(**params))
        except LookupError as error:
            answer = {"error": {"code": -32603, "message": "Internal error", "data": str(error)}}
            return web.json_response({"jsonrpc": "2.0", "id": 1, **answer})
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": result})

    def do_status(self) -> Any:
        return {"sync_info": {"latest_block_height": str(self.height)}}

    def do_commit(self, height: str) -> Any:
        if int(height) not in self.headers:
            raise LookupError(f"height {height} must be less than or equal to the current blockchain height {self.height}")
        return {"signed_header": commit_json(self.headers[int(height)])}

    def do_abci_query(self, path: str, data: str, height: str, prove: bool) -> Any:
        at, key = int(height) or self.height - 1, bytes.fromhex(data)
        if at < 1:
            return {"response": {"code": 3, "log": "wait for block 2", "height": "0"}}
        value = self.states[at].get(key)
        response = {"code": 0 if value else 1, "log": "", "height": str(at), "key": b64(key), "value": value and b64(value)}
        if prove:
            tree = self.tree(self.states[at])
            found = tree.prove(key)
            inner = ValueOp(key, MerkleProof(2**62, found.index, found.leaf, found.aunts))
            outer = ValueOp(STORE_NAME.encode(), MerkleProof(1, 0, leaf_hash(STORE_NAME.encode(), tree.root())))
            assert value or found.leaf == EMPTY_LEAF
            response["proofOps"] = {
                "ops": [
                    {"type": OPERATOR if value else ABSENT, "key": b64(key), "data": b64(encode(inner))},
                    {"type": OPERATOR, "key": b64(STORE_NAME.encode()), "data": b64(encode(outer))},
                ]
            }
        return {"response": response}

    def do_broadcast_tx_sync(self, tx: str) -> Any:
        raw = base64.b64decode(tx)
        decoded = decode_tx(raw)
        assert verify_tx(decoded, CHAIN)
        code = self.check_tx(decoded)
        if not code and self.deliver:
            self.block(txs=[raw])
        return {"code": code, "log": f"code {code}", "codespace": "planetserve", "hash": sha256(raw).hex()}

    def do_tx(self, hash: str, prove: bool) -> Any:
        name = base64.b64decode(hash)
        for number, held in enumerate(self.txs):
            for at, raw in enumerate(held):
                if sha256(raw) == name:
                    proof = {"total": str(len(held)), "index": str(at), "leaf_hash": b64(sha256(b"\0", name)), "aunts": []}
                    result = {"code": self.codes.get(name, 0), "log": "", "codespace": ""}
                    return {"height": str(number), "tx": b64(raw), "tx_result": result, "proof": {"proof": proof}}
        raise LookupError(f"tx ({name.hex()}) not found")

    def genesis_json(self) -> bytes:
        """The chain's genesis file."""
        rows = [
            {"pub_key": {"type": "tendermint/PubKeyEd25519", "value": b64(key.public)}, "power": "10", "name": f"v{at}"}
            for at, key in enumerate(self.keys)
        ]
        return json.dumps({"chain_id": CHAIN, "initial_height": "1", "validators": rows}).encode()


def commit_json(signed: SignedHeader) -> Any:
    def block_id(value: BlockId) -> Any:
        return {"hash": value.hash.hex(), "parts": {"total": value.parts_total, "hash": value.parts_hash.hex()}}

    def time(value: Timestamp) -> str:
        assert value.seconds == int(NOW)
        return f"2023-11-14T22:13:20.{value.nanos:09d}Z"

    header = signed.header
    digests = {
        name: getattr(header, name).hex()
        for name in (
            "last_commit_hash", "data_hash", "validators_hash", "next_validators_hash", "consensus_hash", "app_hash",
            "last_results_hash", "evidence_hash", "proposer_address",
        )
    }  # fmt: skip
    return {
        "header": {
            "version": {"block": str(header.version_block)},
            "chain_id": header.chain_id,
            "height": str(header.height),
            "time": time(header.time),
            "last_block_id": block_id(header.last_block_id),
            **digests,
        },
        "commit": {
            "height": str(signed.height),
            "round": signed.round,
            "block_id": block_id(signed.block_id),
            "signatures": [
                {
                    "block_id_flag": place.flag,
                    "validator_address": place.validator.hex(),
                    "timestamp": time(place.time),
                    "signature": b64(place.signature),
                }
                for place in signed.signatures
            ],
        },
    }


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    """A chain of two empty blocks, served on a free port."""
    held = Chain()
    held.block()
    held.block()
    app = web.Application(client_max_size=2**22)
    app.router.add_post("/", held.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    held.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield held
    await runner.cleanup()
