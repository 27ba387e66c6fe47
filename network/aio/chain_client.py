"""The chain as every role sees it: proven reads, signed transactions, and a directory that keeps itself fresh.

Every value has passed the light client (`docs/light-client.md`): a header of more than 2/3 of the genesis power, two
Merkle operators, the key that was asked for, and a height no lower than what was proven before. Absence is proven alike,
where the answer carries such a proof; `verified` says whether it did.
"""

import asyncio
import base64
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from network.aio.chain_rpc import ChainRpc, ChainUnavailable, RpcError, pause
from network.chain_records import DIRECTORY_KEY, STORE_NAME, DirectoryRecord
from network.chain_tx import TxKind, build_tx
from network.codec import Message, decode
from network.crypto import SigningKey, sha256
from network.directory import Directory, empty
from network.light import GenesisTrust, Header, check_header
from network.light_json import IncludedTx, abci_value, included_tx, proof_ops, signed_header
from network.proof import ProofRejected, check_absence, check_value, root_from_aunts

__all__ = ["ChainClient", "ChainUnavailable", "ProofRejected", "Proven", "TxResult"]

log = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)

QUERY_PATH = f"/store/{STORE_NAME}/key"
KEY_NOT_FOUND = 1
STALE_NONCE = 5  # the code of abci_app/state/errors.py
NONCE_ATTEMPTS = 4
MAX_HEADER_AGE_S = 300.0
HEADERS_KEPT = 32
READ_ATTEMPTS = 5
REPROVE_S = 60.0
INCLUSION_S = 45.0
REBROADCAST_S = 10.0


@dataclass(frozen=True, slots=True)
class Proven:
    """The answer to one read: the value, the state's height, and whether a proof was checked; only absence may lack one."""

    value: bytes | None
    height: int
    verified: bool


@dataclass(frozen=True, slots=True)
class TxResult:
    """What became of a transaction. Code 0 is success; a code from CheckTx comes with height 0."""

    hash: bytes
    height: int
    code: int
    log: str
    codespace: str


class ChainClient:
    """One process's view of the chain, over one or more RPC addresses that it does not trust."""

    def __init__(
        self,
        rpc: Sequence[str],
        genesis: GenesisTrust,
        *,
        clock: Callable[[], float] = time.time,
        max_header_age: float = MAX_HEADER_AGE_S,
    ) -> None:
        self._rpc = ChainRpc(rpc)
        self._trust = genesis
        self._clock = clock
        self._max_age = max_header_age
        self._headers: OrderedDict[int, bytes] = OrderedDict()
        self._proven_height = 0
        self._nonces: dict[bytes, int] = {}
        self._signing: dict[bytes, asyncio.Lock] = {}
        self._directory = empty(genesis.chain_id)
        self._directory_raw = b""
        self._proven_at = float("-inf")

    @property
    def chain_id(self) -> str:
        """The chain this client follows."""
        return self._trust.chain_id

    @property
    def directory_now(self) -> Directory:
        """The last verified directory; empty before the first."""
        return self._directory

    async def start(self) -> None:
        """Open the connections; asks nothing yet."""
        await self._rpc.start()

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()

    async def height(self) -> int:
        """The latest height by the word of the RPC server (unproven)."""
        status = await self._call("status", {})
        try:
            return int(status["sync_info"]["latest_block_height"])
        except (KeyError, TypeError, ValueError) as error:
            raise ChainUnavailable("the RPC server's status carries no height") from error

    async def read(self, key: bytes) -> Proven:
        """The proven value under a ledger key. Raises ChainUnavailable or ProofRejected."""
        floor = self._proven_height
        failure: Exception = ChainUnavailable("the chain has not answered")
        for attempt in range(READ_ATTEMPTS):
            try:
                return await self._read_once(key, floor)
            except ProofRejected as error:
                log.warning("an answer of the chain was refused", extra={"fields": {"reason": error}})
                self._rpc.avoid()
                failure = error
            except RpcError as error:  # the next header may be a moment away
                failure = ChainUnavailable(f"the chain cannot prove an answer yet: {error.detail}")
            if attempt + 1 < READ_ATTEMPTS:
                await pause(attempt)
        raise failure

    async def load(self, kind: type[M], key: bytes) -> tuple[M | None, int]:
        """The proven record under `key`, decoded, and its height; None when the chain says that there is none."""
        proven = await self.read(key)
        return (None if proven.value is None else decode(kind, proven.value)), proven.height

    async def submit(self, kind: TxKind, body: Message, key: SigningKey) -> TxResult:
        """Sign, send, and wait until the transaction is in a block or refused. Raises ChainUnavailable.

        May be called several times at once: where a later nonce overtook this one, the body is signed anew.
        """
        for _ in range(NONCE_ATTEMPTS - 1):
            result = await self._submit_once(kind, body, key)
            if result.code != STALE_NONCE:
                return result
        return await self._submit_once(kind, body, key)

    async def _submit_once(self, kind: TxKind, body: Message, key: SigningKey) -> TxResult:
        async with self._signing.setdefault(key.public, asyncio.Lock()):  # nonces reach the mempool in their order
            nonce = max(self._nonces.get(key.public, 0) + 1, int(self._clock() * 1000))
            self._nonces[key.public] = nonce
            raw = build_tx(kind, body, key=key, chain_id=self.chain_id, nonce=nonce)
            name = sha256(raw)
            refused = await self._broadcast(raw, name)
        deadline = time.monotonic() + INCLUSION_S
        while refused is None:
            found = await self._await_inclusion(name, min(deadline, time.monotonic() + REBROADCAST_S))
            if found is not None:
                return found
            if time.monotonic() >= deadline:
                raise ChainUnavailable(
                    f"transaction {name.hex()} is in no block after {INCLUSION_S:.0f} s; does the chain make blocks?"
                )
            self._rpc.avoid()  # this server took it and nothing came of it: offer the same bytes to the next
            refused = await self._broadcast(raw, name)
        return refused

    async def transaction(self, name: bytes) -> IncludedTx | None:
        """The transaction with this hash, proven to be in its block; None when the chain says that there is none.

        The proof covers the transaction's bytes; its result is the word of the RPC server.
        """
        try:
            found = included_tx(await self._rpc.call("tx", {"hash": base64.b64encode(name).decode(), "prove": True}))
            header = await self._header(found.height, float("inf"))
        except RpcError as error:
            if "not found" in error.detail:
                return None
            raise ChainUnavailable(str(error)) from error
        leaf = sha256(b"\x00", sha256(found.raw))
        proof = found.proof
        if sha256(found.raw) != name or root_from_aunts(leaf, proof.index, proof.total, proof.aunts) != header.data_hash:
            raise ProofRejected("the transaction is not in the block that it is said to be in")
        return found

    async def directory(self) -> Directory:
        """Read and prove the directory now. Before the chain has written one, this is the empty directory."""
        proven = await self.read(DIRECTORY_KEY)
        self._proven_at = time.monotonic()
        if proven.value is None:
            return self._directory
        if proven.value != self._directory_raw or self._directory.height == 0:
            record = decode(DirectoryRecord, proven.value)
            if record.chain_id != self.chain_id:
                raise ProofRejected(f"the directory is of chain {record.chain_id!r}")
            if record.height < self._directory.record.height:
                return self._directory
            self._directory_raw = proven.value
            self._directory = Directory(record, proven.height)
        return self._directory

    async def follow(self, interval: float = 10.0) -> None:
        """Keep `directory_now` fresh until cancelled (run it as a task). Logs when the chain goes and when it returns.

        Between proofs one small unproven question suffices: has the directory changed? A liar gains one `REPROVE_S`.
        Right after a change, as when a network starts, it asks more often.
        """
        failures = 0
        eager = 4
        while True:
            try:
                changed = await self._refresh()
            except (ChainUnavailable, ProofRejected) as error:
                if failures == 0:
                    log.warning("the chain cannot be followed; the last directory stays", extra={"fields": {"reason": error}})
                failures += 1
                await pause(failures, first=0.5, most=interval)
                continue
            if failures:
                log.info("the chain answers again", extra={"fields": {"height": self._proven_height}})
            failures = 0
            eager = 4 if changed or not self._directory.record.entries else max(0, eager - 1)
            await asyncio.sleep((interval / 5 if eager else interval) * random.uniform(0.9, 1.1))

    async def _refresh(self) -> bool:
        """Prove the directory if it seems to have changed or a proof is due. True when it is another than before."""
        before = self._directory
        if time.monotonic() - self._proven_at < REPROVE_S:
            raw = abci_value(await self._query(DIRECTORY_KEY, prove=False)).value
            if raw is None or raw == self._directory_raw:
                return False
        return await self.directory() is not before

    async def _read_once(self, key: bytes, floor: int) -> Proven:
        response = await self._query(key, prove=True)
        answer = abci_value(response)
        if answer.height < floor:
            raise ProofRejected(f"the answer is of height {answer.height}, but {floor} was proven before")
        if answer.code not in (0, KEY_NOT_FOUND):
            raise RpcError(answer.code, answer.log or "the application refused the query")
        if answer.key != key or (answer.value is None) != (answer.code == KEY_NOT_FOUND):
            raise ProofRejected("the answer is for another key than the one asked for, or empty")
        ops = proof_ops(response)
        if answer.value is None and not ops:
            return Proven(None, answer.height, False)
        app_hash = await self._app_hash(answer.height + 1)
        if answer.value is None:
            check_absence(ops, store=STORE_NAME, key=key, app_hash=app_hash)
        else:
            check_value(ops, store=STORE_NAME, key=key, value=answer.value, app_hash=app_hash)
        self._proven_height = max(self._proven_height, answer.height)
        return Proven(answer.value, answer.height, True)

    async def _app_hash(self, height: int) -> bytes:
        """The app hash in the verified header at `height`: the state after the block before it."""
        if height not in self._headers:
            self._headers[height] = (await self._header(height, self._max_age)).app_hash
            while len(self._headers) > HEADERS_KEPT:
                self._headers.popitem(last=False)
        return self._headers[height]

    async def _header(self, height: int, max_age: float) -> Header:
        """The verified header at `height`, no older than `max_age` seconds."""
        signed = signed_header(await self._call("commit", {"height": str(height)}, retry=False))
        if signed.height != height:
            raise ProofRejected(f"asked for the header at height {height}, got {signed.height}")
        check_header(self._trust, signed, now=self._clock(), max_age=max_age)
        return signed.header

    async def _query(self, key: bytes, *, prove: bool) -> Any:
        params = {"path": QUERY_PATH, "data": key.hex(), "height": "0", "prove": prove}
        result = await self._call("abci_query", params, retry=not prove)
        return result.get("response") if isinstance(result, dict) else None

    async def _call(self, method: str, params: dict[str, object], *, retry: bool = True) -> Any:
        """One RPC call; with `retry` an error answer counts as unavailability, else the caller handles RpcError."""
        try:
            return await self._rpc.call(method, params)
        except RpcError as error:
            if retry:
                raise ChainUnavailable(str(error)) from error
            raise

    async def _broadcast(self, raw: bytes, name: bytes) -> TxResult | None:
        """Offer the transaction to a mempool; the result when CheckTx refuses it, None when it waits for a block."""
        try:
            result = await self._rpc.call("broadcast_tx_sync", {"tx": base64.b64encode(raw).decode()})
        except RpcError as error:
            if "already exists in cache" in error.detail:
                return None
            raise ChainUnavailable(f"the mempool refused the transaction: {error.detail}") from error
        code = int(result.get("code", 0))
        return TxResult(name, 0, code, str(result.get("log", "")), str(result.get("codespace", ""))) if code else None

    async def _await_inclusion(self, name: bytes, deadline: float) -> TxResult | None:
        """The transaction's result once a block holds it; None at the deadline."""
        while time.monotonic() < deadline:
            await asyncio.sleep(0.4)
            try:
                found = await self._rpc.call("tx", {"hash": base64.b64encode(name).decode(), "prove": False})
            except RpcError:  # not found yet
                continue
            result = found["tx_result"]
            return TxResult(
                name,
                int(found["height"]),
                int(result.get("code", 0)),
                str(result.get("log", "")),
                str(result.get("codespace", "")),
            )
        return None
