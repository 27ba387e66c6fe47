"""CometBFT's JSON-RPC over HTTP, from whichever of several addresses answers.

One call is one pass over the addresses, the one that answered last first; an address that failed rests for a growing while.
The transport is here, trust is not: nothing that comes back is believed before `network/light.py` has checked it.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from network.errors import PlanetServeError

log = logging.getLogger(__name__)

TIMEOUT_S = 8.0
REST_FIRST_S, REST_MOST_S = 1.0, 30.0
MAX_ANSWER = 8 * 1024 * 1024


class ChainUnavailable(PlanetServeError):
    """No address of the chain gave an answer; the network may be down, or this machine's way to it."""


class RpcError(PlanetServeError):
    """CometBFT answered with an error: `detail` says what it did not like."""

    def __init__(self, code: int, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"the chain's RPC answered error {code}: {detail}")


class ChainRpc:
    """A JSON-RPC client of several equal addresses."""

    def __init__(self, addresses: Sequence[str]) -> None:
        if not addresses:
            raise ValueError("at least one RPC address is needed")
        self._addresses = tuple(address.rstrip("/") for address in addresses)
        self._rests: dict[str, tuple[float, float]] = {}  # address -> (not before, next rest)
        self._preferred = 0
        self.bytes_read = 0
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Make the HTTP session; nothing is asked yet."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, connect=3.0),
            connector=aiohttp.TCPConnector(limit=8, keepalive_timeout=60.0),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def avoid(self) -> None:
        """The address that answered last gave a bad answer: let it rest, so that the next call asks another."""
        self.rest(self._addresses[self._preferred])
        self._preferred = (self._preferred + 1) % len(self._addresses)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses, in the order in which they were given."""
        return self._addresses

    def rests(self, address: str) -> bool:
        """Whether an address failed a moment ago and is left alone."""
        return self._rests.get(address, (0.0, 0.0))[0] > time.monotonic()

    async def call(self, method: str, params: Mapping[str, object]) -> Any:
        """The result of one call. Raises RpcError when CometBFT refuses it, ChainUnavailable when nobody answers."""
        return (await self.ask(method, params))[1]

    async def ask(self, method: str, params: Mapping[str, object], source: str | None = None) -> tuple[str, Any]:
        """Who answered, and the result; with `source`, of that address alone. Raises as `call` does."""
        failures: list[str] = []
        for address in self._order() if source is None else [source]:
            try:
                answer = await self._ask(address, method, params)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError) as error:
                failures.append(f"{address}: {str(error) or type(error).__name__}")
                self.rest(address)
                continue
            if source is None:
                self._preferred = self._addresses.index(address)
            self._rests.pop(address, None)
            if answer.get("error"):
                raise _rpc_error(answer["error"])
            return address, answer.get("result")
        raise ChainUnavailable(
            f"no RPC address of the chain answered ({'; '.join(failures)}); is the network up? try: planetserve localnet status"
        )

    def _order(self) -> list[str]:
        """Addresses to try: the preferred one first, resting ones last."""
        order = self._addresses[self._preferred :] + self._addresses[: self._preferred]
        return sorted(order, key=self.rests)

    def rest(self, address: str) -> None:
        """Leave an address alone for a while, a longer one each time."""
        wait = self._rests.get(address, (0.0, REST_FIRST_S))[1]
        self._rests[address] = (time.monotonic() + wait, min(wait * 2, REST_MOST_S))

    async def _ask(self, address: str, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        """One POST to one address; anything but a JSON-RPC object is a ValueError."""
        if self._session is None:
            raise ChainUnavailable("the chain client has not been started, or is closed")
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self._session.post(address, json=body) as response:
            raw = await response.content.read(MAX_ANSWER + 1)
            while len(raw) <= MAX_ANSWER and not response.content.at_eof():
                raw += await response.content.read(MAX_ANSWER + 1 - len(raw))
            if len(raw) > MAX_ANSWER:
                raise ValueError(f"an answer of more than {MAX_ANSWER} bytes")
        self.bytes_read += len(raw)
        answer = json.loads(raw)
        if not isinstance(answer, dict):
            raise ValueError("an answer that is not a JSON-RPC object")
        return answer


def _rpc_error(raw: Any) -> RpcError:
    """CometBFT's error object, or whatever a stranger sent in its place."""
    if not isinstance(raw, dict) or not isinstance(raw.get("code", 0), int):
        return RpcError(0, str(raw)[:200])
    return RpcError(raw.get("code", 0), str(raw.get("data") or raw.get("message")))


async def pause(attempt: int, *, first: float = 0.25, most: float = 8.0) -> None:
    """Sleep before retry number `attempt` (0, 1, ...): doubling, bounded."""
    await asyncio.sleep(min(first * 2.0**attempt, most))
