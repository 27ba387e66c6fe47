"""One replica's application in this process over a real LevelDB: what each ABCI method costs without CometBFT.

Blocks go the way they go on a chain: CheckTx of every transaction, PrepareProposal, ProcessProposal, FinalizeBlock, Commit.
"""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import TypeVar

import plyvel

from abci_app.abci.framing import Unframer, frame
from abci_app.abci.pb import abci_pb2 as abci
from abci_app.aio.server import AbciServer
from abci_app.aio.storage import LevelStore
from abci_app.application import Application, Staged
from abci_app.state.app_hash import app_hash
from abci_app.state.context import BlockContext
from abci_app.state.genesis import Genesis
from abci_app.tree import Tree
from evals.ledger.chain import BenchError
from evals.ledger.figures import CHAIN_ID, OPEN_DOORS, Figure, figure, percentile, registration, renewal, signers
from network.chain_records import QUERY_PATH, Account, account_key
from network.chain_tx import decode_tx, sign_bytes
from network.codec import encode
from network.crypto import SigningKey, sha256, verify

BLOCK_TXS = 1_000
BLOCKS = 20
ROWS = 100_000
QUERIES = 2_000
MAX_BYTES = 4 << 20
_KEY = SigningKey(sha256(b"evals/ledger/validator"))
_APP_STATE = json.dumps(
    {
        "params": OPEN_DOORS,
        "verifiers": [{"consensus_key": _KEY.public.hex(), "verifier_key": _KEY.public.hex(), "name": "validator-0"}],
    }
).encode()
Answer = TypeVar("Answer")
_SIGNATURES = "libsodium verifying the same signatures, nothing else"


class Replica:
    """The application and its store, driven as CometBFT drives them; keeps the seconds of each step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.spent: dict[str, list[float]] = {}
        self.open()
        self.app.init_chain(Genesis(CHAIN_ID, 1, ((_KEY.public, 10),), _APP_STATE))

    def open(self) -> None:
        """Open the store as a starting validator does."""
        self.store = LevelStore(self._folder / "app.db", chain_id=CHAIN_ID, genesis_hash=bytes(32))
        self.app = Application(self.store, CHAIN_ID, _APP_STATE)
        self._server = AbciServer(self.app, self._folder / "unused.sock", lambda _method, _seconds, _failed: None)

    def block(self, txs: list[bytes], prefix: str = "") -> None:
        """One height with these transactions, all of which must succeed."""
        self._time(prefix + "check", lambda: [self.app.check_tx(raw) for raw in txs])
        chosen = self._time(prefix + "prepare", lambda: self.app.prepare_proposal(txs, MAX_BYTES))
        if len(chosen) != len(txs) or not self._time(prefix + "process", lambda: self.app.process_proposal(chosen)):
            raise BenchError("the application left out or refused its own transactions")
        height = self.app.height + 1
        context = BlockContext(CHAIN_ID, height, sha256(b"block", height.to_bytes(8, "big")), sha256(b"commit"))
        result, _ = self._time(prefix + "finalize", lambda: self.app.finalize_block(context, chosen))
        if any(row.code for row in result.tx_results):
            raise BenchError(f"a prepared transaction failed: {next(row for row in result.tx_results if row.code)}")
        self._time(prefix + "commit", self.app.commit)

    def fill(self, rows: int) -> list[bytes]:
        """One height that brings this many accounts at once; answers their keys."""
        keys = [account_key(sha256(b"account", number.to_bytes(4, "big"))) for number in range(rows)]
        changes = tuple((key, encode(Account(1_700_000_000_000 + at))) for at, key in enumerate(keys))
        root, nodes = Tree(self.store.version(self.store.height).nodes).update(changes)
        self.store.save(Staged(self.store.height + 1, app_hash(root), changes, tuple(sorted(nodes.items()))), None)
        return keys

    def serve(self, stream: bytes) -> int:
        """Answer a stream of framed requests as the socket server does; the number of bytes answered."""
        answers = bytearray()
        for raw in Unframer().feed(stream):
            answers += self._server.handle(0, raw)
        return len(answers)

    def _time(self, step: str, run: Callable[[], Answer]) -> Answer:
        began, cpu = perf_counter(), process_time()
        result = run()
        self.spent.setdefault(step, []).append(perf_counter() - began)
        self.spent.setdefault(f"{step} cpu", []).append(process_time() - cpu)
        return result


def measure(folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """All in-process figures."""
    say(f"in-process: {ROWS} rows, {BLOCKS} blocks of {BLOCK_TXS} renewals")
    replica = Replica(folder)
    replica.block([], "empty ")
    rows = replica.fill(ROWS)
    keys = signers(BLOCK_TXS)
    replica.block([registration(number, key, CHAIN_ID) for number, key in enumerate(keys)], "register ")
    txs: list[bytes] = []
    for turn in range(1, BLOCKS + 1):
        txs = [renewal(key, turn, CHAIN_ID) for key in keys]
        replica.block(txs)
    bare = bare_signatures(txs)
    fresh = [renewal(key, BLOCKS + 1, CHAIN_ID) for key in keys]
    figures = [*of_blocks(replica, bare, folder), *of_requests(replica, fresh, rows)]
    replica.store.close()
    began = perf_counter()
    replica.open()
    figures.append(figure(f"open_{ROWS}_rows", perf_counter() - began, "s", most=2))
    replica.store.close()
    return figures


def of_blocks(replica: Replica, bare_s: float, folder: Path) -> list[Figure]:
    """What a block of 1,000 costs, step by step: medians, but for Commit its p95."""
    spent = {step: sorted(seconds) for step, seconds in replica.spent.items()}
    middle = {step: seconds[len(seconds) // 2] for step, seconds in spent.items()}
    plain = plain_batches(folder / "plain.db")
    return [
        figure("check_tx", BLOCK_TXS / middle["check"], "tx/s", _SIGNATURES, BLOCK_TXS / bare_s),
        figure("prepare_1000", middle["prepare"] * 1e3, "ms", _SIGNATURES, bare_s * 1e3),
        figure("process_1000", middle["process"] * 1e3, "ms", _SIGNATURES, bare_s * 1e3),
        figure("finalize_1000", middle["finalize"] * 1e3, "ms", _SIGNATURES, bare_s * 1e3, most=150),
        figure("finalize_1000_cpu", middle["finalize cpu"] * 1e3, "ms"),
        figure("finalize_1000_registrations", middle["register finalize"] * 1e3, "ms", _SIGNATURES, bare_s * 1e3),
        figure(
            "commit_p95",
            percentile(spent["commit"], 0.95) * 1e3,
            "ms",
            "a synced LevelDB batch of 1,000 rows, nothing else",
            percentile(plain, 0.95) * 1e3,
            most=20,
        ),
    ]


def of_requests(replica: Replica, txs: list[bytes], rows: list[bytes]) -> list[Figure]:
    """Requests as they come over the socket: decoded, answered, encoded."""
    checks = b"".join(frame(abci.Request(check_tx=abci.RequestCheckTx(tx=raw)).SerializeToString()) for raw in txs)
    echoes = b"".join(frame(abci.Request(echo=abci.RequestEcho(message="x" * len(raw))).SerializeToString()) for raw in txs)
    replica.serve(checks)  # now their signatures are known
    seen = min(timed(lambda: replica.serve(checks)) for _ in range(3))
    echo = min(timed(lambda: replica.serve(echoes)) for _ in range(3))
    asked = random.Random(7).sample(rows, QUERIES)
    plain, proven = ([timed(partial(replica.serve, _query(key, prove))) for key in asked] for prove in (False, True))
    note = "the same queries without a proof"
    return [
        figure(
            "check_tx_pipelined_known_signatures",
            len(txs) / seen,
            "tx/s",
            "Echo of the same length through the same server",
            len(txs) / echo,
            least=200_000,
        ),
        figure("proof_query_p50", percentile(proven, 0.5) * 1e3, "ms", note, percentile(plain, 0.5) * 1e3),
        figure("proof_query_p99", percentile(proven, 0.99) * 1e3, "ms", note, percentile(plain, 0.99) * 1e3, most=5),
    ]


def bare_signatures(txs: list[bytes]) -> float:
    """Seconds that the signatures of these transactions take alone; the median of three."""
    opened = [decode_tx(raw) for raw in txs]
    parts = [(tx.signer, sign_bytes(tx, CHAIN_ID), tx.signature) for tx in opened]
    return sorted(timed(lambda: [verify(*part) for part in parts]) for _ in range(3))[1]


def plain_batches(path: Path) -> list[float]:
    """Seconds of as many synced batches as there were blocks, each with 1,000 rows of an account's size."""
    draw = random.Random(7)
    store = plyvel.DB(str(path), create_if_missing=True)
    spent = []
    for _ in range(BLOCKS):
        batch = store.write_batch(sync=True)
        for _ in range(BLOCK_TXS):
            batch.put(draw.randbytes(34), draw.randbytes(9))
        spent.append(timed(batch.write))
    store.close()
    return spent


def timed(run: Callable[[], object]) -> float:
    """Seconds of one run."""
    began = perf_counter()
    run()
    return perf_counter() - began


def _query(key: bytes, prove: bool) -> bytes:
    return frame(abci.Request(query=abci.RequestQuery(path=QUERY_PATH, data=key, prove=prove)).SerializeToString())
