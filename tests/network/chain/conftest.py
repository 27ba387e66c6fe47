"""A chain in a test: four validators that sign headers, the ledger's own tree for proofs, and CometBFT's JSON-RPC."""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web

from abci_app.query.store import answer
from abci_app.state.app_hash import app_hash
from abci_app.tree import Tree
from network.chain_records import QUERY_PATH, STORE_NAME
from network.chain_tx import SignedTx, decode_tx, verify_tx
from network.codec import encode
from network.crypto import SigningKey, sha256
from network.light import GenesisTrust
from network.light_headers import LightBlock, Timestamp, Validator, merkle_root
from network.light_render import light_block_json
from network.proof import ABSENT, EMPTY_LEAF, OPERATOR, MerkleProof, ValueOp, leaf_hash

CHAIN = "test-chain"
NOW = 1_700_000_000.0


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@dataclass
class Rows:
    """One height's rows; nothing here proves them."""

    rows: dict[bytes, bytes]
    nodes: dict[bytes, bytes] = field(default_factory=dict)

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted((key, value) for key, value in self.rows.items() if key.startswith(prefix) and key >= start))


@dataclass
class Chain:
    """Heights from 1; `states[h]` holds the rows after block h. `tamper` may change any result on its way out."""

    sign: Callable[..., LightBlock]
    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey(bytes([at]) * 32) for at in (11, 12, 13, 14)])
    states: list[dict[bytes, bytes]] = field(default_factory=lambda: [{}])
    txs: list[list[bytes]] = field(default_factory=lambda: [[]])
    codes: dict[bytes, int] = field(default_factory=dict)
    blocks: dict[int, LightBlock] = field(default_factory=dict)
    members: list[tuple[SigningKey, int]] = field(default_factory=list)
    coming: list[tuple[SigningKey, int]] = field(default_factory=list)
    evidence: list[Any] = field(default_factory=list)
    time: float = NOW
    down: bool = False
    tamper: Callable[[str, Any], Any] = lambda method, result: result
    check_tx: Callable[[SignedTx], int] = lambda tx: 0
    deliver: bool = True
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""
    oldest: int = 1

    def __post_init__(self) -> None:
        self.members = self.members or [(key, 10) for key in self.keys]
        self.coming = self.coming or self.members

    @property
    def trust(self) -> GenesisTrust:
        return GenesisTrust(CHAIN, 1, [Validator(key.public, 10) for key in self.keys], Timestamp(int(NOW), 0))

    @property
    def height(self) -> int:
        return len(self.states) - 1

    def clock(self) -> float:
        return self.time

    def block(self, changes: dict[bytes, bytes] | None = None, txs: list[bytes] | None = None) -> int:
        """Decide one more block, a moment after the last; its header carries the state before it."""
        number, before = len(self.states), self.states[-1]
        self.blocks[number] = self.sign(
            self.members,
            self.coming,
            height=number,
            time=Timestamp(int(self.time), number),
            app_hash=app_hash(self.tree(before).root()),
            data_hash=merkle_root([sha256(tx) for tx in txs or []]),
        )
        self.members = self.coming
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
        return {"signed_header": light_block_json(self._block(height))["signed_header"], "canonical": True}

    def do_header(self, height: str) -> Any:
        return {"header": light_block_json(self._block(height))["signed_header"]["header"]}

    def do_validators(self, height: str, page: str, per_page: str) -> Any:
        rows = light_block_json(self._block(height))["validator_set"]["validators"]
        first, count = (int(page) - 1) * int(per_page), int(per_page)
        part = rows[first : first + count]
        return {"block_height": height, "validators": part, "count": str(len(part)), "total": str(len(rows))}

    def do_broadcast_evidence(self, evidence: Any) -> Any:
        self.evidence.append(evidence)
        return {"hash": "00"}

    def _block(self, height: str) -> LightBlock:
        if int(height) not in self.blocks:
            raise LookupError(f"height {height} must be less than or equal to the current blockchain height {self.height}")
        return self.blocks[int(height)]

    def version(self, height: int) -> Any:
        """The rows of a height, as the application's friendly paths read them."""
        return Rows(self.states[height])

    def do_abci_query(self, path: str, data: str, height: str, prove: bool) -> Any:
        if path not in ("", QUERY_PATH):
            found = answer(self, path, b"", int(height), prove)
            value = b64(found.value) or None
            return {"response": {"code": found.code, "log": found.log, "height": str(found.height), "value": value}}
        at, key = int(height) or self.height - 1, bytes.fromhex(data)
        if at < 1:
            return {"response": {"code": 3, "log": "wait for the next block", "height": "0"}}
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
        genesis = {"genesis_time": "2023-11-14T22:13:20Z", "chain_id": CHAIN, "initial_height": "1", "validators": rows}
        return json.dumps(genesis).encode()


async def serve(held: Chain) -> web.AppRunner:
    """Serve a chain on a free port."""
    app = web.Application(client_max_size=2**22)
    app.router.add_post("/", held.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    held.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner


@pytest.fixture
async def chain(sign_block: Callable[..., LightBlock]) -> AsyncIterator[Chain]:
    """A chain of two empty blocks, served on a free port."""
    held = Chain(sign_block)
    held.block()
    held.block()
    runner = await serve(held)
    yield held
    await runner.cleanup()


@pytest.fixture
async def mirror(chain: Chain) -> AsyncIterator[Callable[..., Awaitable[Chain]]]:
    """Serves the same chain at further addresses, each with its own height, lies and outages."""
    runners: list[web.AppRunner] = []

    async def make() -> Chain:
        copy = replace(chain, calls=[], evidence=[], tamper=lambda method, result: result, check_tx=lambda tx: 0)
        runners.append(await serve(copy))
        return copy

    yield make
    for runner in runners:
        await runner.cleanup()
