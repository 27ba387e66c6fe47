"""Reads for commands and gateways: rows that the light client has checked, and documents that say which rows there are.

A document of a node is a list of keys to ask for, nothing more: every row that leaves here has been proven at the height
of the first, which was fresh.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from network.aio.chain_client import KEY_NOT_FOUND, ChainClient, Proven
from network.chain_records import CURRENT_EPOCH_KEY, QUERY_PATH, EpochRecord
from network.codec import Message, decode
from network.errors import PlanetServeError
from network.light_json import abci_value
from network.proof import ProofRejected

AT_ONCE = 8
HEIGHTS_KEPT = 64
TRUSTED_READABLE_S = 5.0  # nodes keep a height for many blocks after it could be read
M = TypeVar("M", bound=Message)
T = TypeVar("T")


class LedgerRefused(PlanetServeError):
    """The ledger has no such row, or does not answer such a question; `code` is one of its query codes."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Row:
    """One proven row."""

    key: bytes
    value: bytes
    height: int

    def proof(self) -> dict[str, Any]:
        """What `prove` adds: the arguments of the stock light proxy's `abci_query`, and what we verified."""
        return {
            "path": QUERY_PATH,
            "key_hex": self.key.hex(),
            "value_hex": self.value.hex(),
            "height": self.height,
            "verified": True,
        }


class LedgerReader:
    """Proven reads over one light client."""

    def __init__(self, client: ChainClient) -> None:
        self.client = client
        self._readable: OrderedDict[int, float] = OrderedDict()  # heights that were proven, and when

    async def now(self, height: int) -> tuple[int, EpochRecord]:
        """The height to answer from (`height`, else the newest that can be proven), and the epoch that ran then."""
        row = await self.row(CURRENT_EPOCH_KEY, height, "the chain has no epoch yet")
        return row.height, decode(EpochRecord, row.value)

    async def row(self, key: bytes, height: int, missing: str) -> Row:
        """One row. Raises LedgerRefused with `missing` when the chain proves that there is none."""
        row = await self.perhaps(key, height)
        if row is None:
            raise LedgerRefused(KEY_NOT_FOUND, missing)
        return row

    async def perhaps(self, key: bytes, height: int) -> Row | None:
        """One row, or None when the chain proves that there is none."""
        if height and self._readable.get(height, float("-inf")) < time.monotonic() - TRUSTED_READABLE_S:
            await self._require_height(key, height)
        proven: Proven = await self.client.read(key, height=height)
        if not proven.verified:
            raise ProofRejected("the answer was not proven")
        self._readable[proven.height] = time.monotonic()
        while len(self._readable) > HEIGHTS_KEPT:
            self._readable.popitem(last=False)
        return None if proven.value is None else Row(key, proven.value, proven.height)

    async def rows(self, keys: Iterable[bytes], height: int) -> list[Row | None]:
        """Several rows of one height, a few at once."""
        return await gather(self.perhaps, [(key, height) for key in keys])

    async def listed(self, path: str, name: str, prefix: bytes, height: int) -> tuple[list[Row], str]:
        """The rows that a document lists under `name`, each proven, and where the next page begins (a node's word)."""
        document = await self.document(path, height)
        try:
            keys = [bytes.fromhex(row["key"]) for row in document[name]]
            following = str(document["next"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProofRejected(f"the answer is not a list of {name}: {error!r}") from error
        if sorted(set(keys)) != sorted(keys) or not all(key.startswith(prefix) for key in keys):
            raise ProofRejected(f"the list of {name} names rows that are something else")
        found = await self.rows(keys, height)
        rows = [row for row in found if row is not None]
        if len(rows) != len(found):
            raise ProofRejected(f"the list of {name} names rows that the ledger does not have")
        return rows, following

    async def document(self, path: str, height: int) -> dict[str, Any]:
        """A node's own JSON document: unproven. Raises LedgerRefused, ProofRejected."""
        answer = abci_value(await self.query(path, b"", height, prove=False))
        if answer.code:
            raise LedgerRefused(answer.code, answer.log or "the ledger refused the query")
        try:
            document = json.loads(answer.value or b"")
        except ValueError as error:
            raise ProofRejected("the answer is not a JSON document") from error
        if not isinstance(document, dict):
            raise ProofRejected("the answer is not a JSON object")
        return document

    async def query(self, path: str, data: bytes, height: int, *, prove: bool) -> Any:
        """The response of `abci_query` as a node gives it: unproven."""
        parameters = {"path": path, "data": data.hex(), "height": str(height), "prove": prove}
        result = await self.client.call("abci_query", parameters)
        return result.get("response") if isinstance(result, dict) else None

    async def _require_height(self, key: bytes, height: int) -> None:
        """A height that no node keeps is the caller's mistake, not the chain's silence."""
        answer = abci_value(await self.query(QUERY_PATH, key, height, prove=True))
        if answer.code > KEY_NOT_FOUND:
            raise LedgerRefused(answer.code, answer.log or "the ledger refused the query")


async def gather(work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """`work(*each)` for each, in order of the arguments, AT_ONCE at a time."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(each: tuple[Any, ...]) -> Any:
        async with turn:
            return await work(*each)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(each)) for each in arguments]
    return [task.result() for task in tasks]


def loaded(kind: type[M], row: Row) -> M:
    """The record in a row."""
    return decode(kind, row.value)
