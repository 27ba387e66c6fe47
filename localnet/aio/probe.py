"""What a localnet says about itself, asked through the ports that anybody can ask.

Answers of the RPC servers are taken at their word here: the network is this machine's own. `planetserve query --prove`
is for those who trust nobody.
"""

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp

from network.chain_records import CURRENT_EPOCH_KEY, DIRECTORY_KEY, STORE_NAME, DirectoryRecord, EpochRecord
from network.codec import Message, decode
from network.errors import DecodeError

M = TypeVar("M", bound=Message)
PATIENCE = aiohttp.ClientTimeout(total=3.0)
SILENT = (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError, KeyError, TypeError, DecodeError)


@dataclass(frozen=True, slots=True)
class ChainView:
    """What one validator's RPC says: the last height, whether it is still catching up, and the chain's name."""

    height: int
    catching_up: bool
    chain_id: str


@dataclass(frozen=True, slots=True)
class OpsView:
    """What a role says of itself at `/status`."""

    name: str
    ready: bool
    reason: str


class Probe:
    """Asks nodes over one HTTP session. Every question answers None while nobody is there to answer it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def chain(self, rpc: str) -> ChainView | None:
        """The state of the chain at one validator."""
        try:
            answer = await self._json(f"http://{rpc}/status")
            sync = answer["result"]["sync_info"]
            chain_id = answer["result"]["node_info"]["network"]
            return ChainView(int(sync["latest_block_height"]), bool(sync["catching_up"]), str(chain_id))
        except SILENT:
            return None

    async def ops(self, metrics: str) -> OpsView | None:
        """What a role says of itself; a role that is not ready may answer with any status."""
        try:
            answer = await self._json(f"http://{metrics}/status")
            return OpsView(str(answer["name"]), bool(answer["ready"]), str(answer.get("reason", "")))
        except SILENT:
            return None

    async def directory(self, rpc: str) -> DirectoryRecord | None:
        """The directory of live nodes as last written."""
        return await self._record(rpc, DirectoryRecord, DIRECTORY_KEY)

    async def epoch(self, rpc: str) -> EpochRecord | None:
        """The running epoch."""
        return await self._record(rpc, EpochRecord, CURRENT_EPOCH_KEY)

    async def _record(self, rpc: str, kind: type[M], key: bytes) -> M | None:
        parameters = {"path": f'"/store/{STORE_NAME}/key"', "data": f"0x{key.hex()}"}
        try:
            answer = await self._json(f"http://{rpc}/abci_query", parameters)
            response = answer["result"]["response"]
            if response.get("code", 0) or not response.get("value"):
                return None
            return decode(kind, base64.b64decode(response["value"]))
        except SILENT:
            return None

    async def _json(self, url: str, parameters: dict[str, str] | None = None) -> Any:
        async with self._session.get(url, params=parameters, timeout=PATIENCE) as response:
            return json.loads(await response.read())
