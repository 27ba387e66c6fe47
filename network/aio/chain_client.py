"""The chain as every role sees it: proven reads, signed transactions, and a directory that keeps itself fresh.

Every value has passed the light client (`docs/light-client.md`): a header that the trusted validators vouch for, two
Merkle operators, the key that was asked for, and a height no lower than what was proven before. Absence is proven alike,
where the answer carries such a proof; `verified` says whether it did.
"""

import asyncio
import base64
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from network.aio.chain_rpc import ChainRpc, ChainUnavailable, RpcError, pause
from network.aio.chain_submit import Submitter, TxResult
from network.aio.light_client import LightClient
from network.chain_records import DIRECTORY_KEY, PARAMS_KEY, QUERY_PATH, STORE_NAME, DirectoryRecord
from network.chain_tx import TxKind
from network.codec import Message, decode
from network.config import TRUSTING_PERIOD_S, NodeConfig, TrustRoot
from network.crypto import SigningKey, sha256
from network.directory import Directory, empty
from network.errors import ConfigError
from network.light import ForkDetected, GenesisTrust, check_age
from network.light_headers import LightBlock, Validator
from network.light_json import IncludedTx, abci_value, genesis_trust, included_tx, proof_ops
from network.proof import ProofRejected, check_absence, check_value, root_from_aunts

__all__ = ["ChainClient", "ChainUnavailable", "ForkDetected", "ProofRejected", "Proven", "RpcError", "TxResult", "client_of"]

log = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)

KEY_NOT_FOUND = 1
MAX_HEADER_AGE_S = 300.0
READ_ATTEMPTS = 5
REPROVE_S = 60.0
MEMORY_FILE = "light.json"


@dataclass(frozen=True, slots=True)
class Proven:
    """The answer to one read: the value, the state's height, and whether a proof was checked; only absence may lack one."""

    value: bytes | None
    height: int
    verified: bool


class ChainClient:
    """One process's view of the chain, over one or more RPC addresses that it does not trust."""

    def __init__(
        self,
        rpc: Sequence[str],
        genesis: GenesisTrust,
        *,
        root: TrustRoot | None = None,
        trusting_period: float = TRUSTING_PERIOD_S,
        memory: Path | None = None,
        clock: Callable[[], float] = time.time,
        max_header_age: float = MAX_HEADER_AGE_S,
    ) -> None:
        """`root` replaces the genesis file's validators as what is trusted first; `memory` keeps the newest block."""
        self._rpc = ChainRpc(rpc)
        self._light = LightClient(self._rpc, genesis, root=root, trusting_period=trusting_period, memory=memory, clock=clock)
        self._submitter = Submitter(self._rpc, genesis.chain_id, clock)
        self._trust = genesis
        self._clock = clock
        self._max_age = max_header_age
        self._proven_height = 0
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
        """Close the connections, and remember the newest trusted block."""
        self._light.save()
        await self._rpc.close()

    @property
    def light(self) -> LightClient:
        """The light client below: verified blocks, counts, and whether the chain forked."""
        return self._light

    @property
    def trouble(self) -> str:
        """Why nothing that the chain says is believed any more; empty unless it forked."""
        return "" if self._light.fork is None else str(self._light.fork)

    @property
    def bytes_read(self) -> int:
        """How many bytes of answers came from the RPC servers."""
        return self._rpc.bytes_read

    async def call(self, method: str, params: Mapping[str, object]) -> Any:
        """The unproven result of any RPC method. Raises RpcError or ChainUnavailable."""
        return await self._rpc.call(method, params)

    async def block(self, height: int) -> LightBlock:
        """The verified header, commit and validators of one height. Raises ProofRejected, RpcError or ChainUnavailable."""
        return await self._light.block(height)

    async def committee(self) -> tuple[Validator, ...]:
        """The validators of the newest provable block. Raises ChainUnavailable or ProofRejected."""
        return (await self._light.block((await self.read(PARAMS_KEY)).height + 1)).validators.validators

    async def height(self) -> int:
        """The latest height by the word of the RPC server (unproven)."""
        status = await self._call("status", {})
        try:
            return int(status["sync_info"]["latest_block_height"])
        except (KeyError, TypeError, ValueError) as error:
            raise ChainUnavailable("the RPC server's status carries no height") from error

    async def read(self, key: bytes, *, height: int = 0) -> Proven:
        """The proven value under a ledger key, now or at an earlier height. Raises ChainUnavailable or ProofRejected."""
        floor = self._proven_height
        failure: Exception = ChainUnavailable("the chain has not answered")
        for attempt in range(READ_ATTEMPTS):
            try:
                return await self._read_once(key, floor, height)
            except ForkDetected:
                raise
            except ProofRejected as error:
                log.warning("an answer of the chain was refused", extra={"fields": {"reason": error}})
                self._rpc.avoid()
                failure = error
            except RpcError as error:  # the next header may be a moment away
                failure = ChainUnavailable(f"the chain cannot prove an answer yet: {error.detail}")
            if attempt + 1 < READ_ATTEMPTS:
                await pause(attempt)
        raise failure

    async def load(self, kind: type[M], key: bytes, *, height: int = 0) -> tuple[M | None, int]:
        """The proven record under `key`, decoded, and its height; None when the chain says that there is none."""
        proven = await self.read(key, height=height)
        return (None if proven.value is None else decode(kind, proven.value)), proven.height

    async def submit(self, kind: TxKind, body: Message, key: SigningKey) -> TxResult:
        """Sign, send, and wait until the transaction is in a block or refused. Raises ChainUnavailable."""
        return await self._submitter.submit(kind, body, key)

    async def transaction(self, name: bytes) -> IncludedTx | None:
        """The transaction with this hash, proven to be in its block; None when the chain says that there is none.

        The proof covers the transaction's bytes; its result is the word of the RPC server.
        """
        try:
            found = included_tx(await self._rpc.call("tx", {"hash": base64.b64encode(name).decode(), "prove": True}))
            header = (await self._light.block(found.height)).header
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
            self._directory = Directory(record, proven.height, self._directory, self._clock())
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
            except ForkDetected:
                await asyncio.Event().wait()  # told by the light client; a restart changes nothing
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

    async def _read_once(self, key: bytes, floor: int, height: int) -> Proven:
        response = await self._query(key, height=height, prove=True)
        answer = abci_value(response)
        if height and answer.height != height:
            raise ProofRejected(f"the answer is of height {answer.height}, not of {height}")
        if not height and answer.height < floor:
            raise ProofRejected(f"the answer is of height {answer.height}, but {floor} was proven before")
        if answer.code not in (0, KEY_NOT_FOUND):
            raise RpcError(answer.code, answer.log or "the application refused the query")
        if answer.key != key or (answer.value is None) != (answer.code == KEY_NOT_FOUND):
            raise ProofRejected("the answer is for another key than the one asked for, or empty")
        ops = proof_ops(response)
        if answer.value is None and not ops:
            return Proven(None, answer.height, False)
        header = (await self._light.block(answer.height + 1)).header
        if not height:
            check_age(header, now=self._clock(), max_age=self._max_age)
        if answer.value is None:
            check_absence(ops, store=STORE_NAME, key=key, app_hash=header.app_hash)
        else:
            check_value(ops, store=STORE_NAME, key=key, value=answer.value, app_hash=header.app_hash)
        self._proven_height = max(self._proven_height, answer.height)
        return Proven(answer.value, answer.height, True)

    async def _query(self, key: bytes, *, height: int = 0, prove: bool) -> Any:
        params = {"path": QUERY_PATH, "data": key.hex(), "height": str(height), "prove": prove}
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


def client_of(node: NodeConfig) -> ChainClient:
    """The client of a role's process, by its [node] table; it remembers beside the role's keys. Raises ConfigError."""
    genesis = genesis_trust(node.genesis.read_bytes())
    if genesis.chain_id != node.chain_id:
        raise ConfigError(f"node.chain_id is {node.chain_id!r}, but the genesis file is of {genesis.chain_id!r}")
    memory = node.keys.with_name(MEMORY_FILE)
    return ChainClient(node.rpc, genesis, root=node.trust, trusting_period=node.trusting_period_s, memory=memory)
