"""Signed transactions on their way into a block: nonces in order, offered again, found by their hash.

Results are the RPC server's word; who needs proof asks `ChainClient.transaction`.
"""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from network.aio.chain_rpc import ChainRpc, ChainUnavailable, RpcError
from network.chain_tx import TxKind, build_tx
from network.codec import Message
from network.crypto import SigningKey, sha256

STALE_NONCE = 5  # the code of abci_app/state/errors.py
NONCE_ATTEMPTS = 4
INCLUSION_S = 45.0
REBROADCAST_S = 10.0


@dataclass(frozen=True, slots=True)
class TxResult:
    """What became of a transaction. Code 0 is success; a code from CheckTx comes with height 0. `events` are the attributes
    of its events, by `kind.attribute`."""

    hash: bytes
    height: int
    code: int
    log: str
    codespace: str
    events: Mapping[str, str] = field(default_factory=dict)


class Submitter:
    """Signs and submits the transactions of one process."""

    def __init__(self, rpc: ChainRpc, chain_id: str, clock: Callable[[], float]) -> None:
        self._rpc = rpc
        self._chain_id = chain_id
        self._clock = clock
        self._nonces: dict[bytes, int] = {}
        self._signing: dict[bytes, asyncio.Lock] = {}

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
            raw = build_tx(kind, body, key=key, chain_id=self._chain_id, nonce=nonce)
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
                _attributes(result.get("events") or []),
            )
        return None


def _attributes(events: Sequence[Any]) -> dict[str, str]:
    rows = ((event, row) for event in events for row in event.get("attributes") or [])
    return {f"{event.get('type')}.{row.get('key')}": str(row.get("value")) for event, row in rows}
