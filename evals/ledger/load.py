"""The load client: sends prepared transactions to four CometBFT nodes, and notes when a block has finalised each.

A lane is one signer's transactions in nonce order. A lane has at most one transaction in flight, so that no mempool can
see its nonces out of order. Finalised = the first node has announced the block after the application committed it.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import aiohttp

from evals.ledger.chain import BenchError

BATCH = 100  # CometBFT's max_request_batch_size in our settings
TICK_S = 0.025
DRAIN_S = 30.0
SENDERS_PER_NODE = 2


@dataclass
class Outcome:
    """What a phase saw: block arrivals with their transactions, seconds from due to finalised, and what never came."""

    began: float
    blocks: list[tuple[float, int]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    sent: int = 0
    missing: int = 0


class Load:
    """One client of one chain. Phases are run one after another; each leaves nothing in flight, or says so."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        self._session = session
        self._urls = tuple(urls)
        self._flying: dict[str, tuple[deque[str], float]] = {}
        self._free: deque[deque[str]] = deque()
        self._landed = asyncio.Event()
        self._outcome = Outcome(0.0)
        self._height = 0

    async def saturate(self, lanes: list[deque[str]], in_flight: int, seconds: float) -> Outcome:
        """Keep `in_flight` transactions under way for `seconds`, or until the lanes are empty."""
        outcome = self._begin(lanes)
        end = outcome.began + seconds
        senders = [self._keep_full(url, in_flight, end) for url in self._urls for _ in range(SENDERS_PER_NODE)]
        await asyncio.gather(*senders)
        await self._drain()
        return outcome

    async def offer(self, lanes: list[deque[str]], rate: float, seconds: float) -> Outcome:
        """Send `rate` transactions per second whatever becomes of them; latency counts from when each was due."""
        outcome = self._begin(lanes)
        urls = cycle(self._urls)
        posts: set[asyncio.Task[None]] = set()
        number, due = 0, outcome.began
        while (now := time.monotonic()) < outcome.began + seconds:
            batch: list[str] = []
            while due <= now and self._free and len(batch) < BATCH:
                batch.append(self._take(due))
                number += 1
                due = outcome.began + number / rate
            if batch:
                task = asyncio.create_task(self._post(next(urls), batch))
                posts.add(task)
                task.add_done_callback(posts.discard)
            if due > now or not self._free:
                await asyncio.sleep(TICK_S)
        await asyncio.gather(*posts)
        await self._drain()
        return outcome

    async def watch(self) -> None:
        """Follow the first node's blocks until cancelled."""
        async with self._session.ws_connect(f"{self._urls[0]}/websocket", heartbeat=None) as socket:
            query = {"query": "tm.event='NewBlockHeader'"}
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": query})
            async for message in socket:
                when = time.monotonic()
                data = message.json()
                if "error" in data:
                    raise BenchError(f"{self._urls[0]} ended the subscription: {data['error']}")
                if value := data["result"].get("data"):
                    await self._block(when, value["value"]["header"]["height"])
        raise BenchError(f"{self._urls[0]} closed the subscription")

    async def refused(self) -> int:
        """How many transactions the application has refused in all blocks so far."""
        count = 0
        for height in range(1, self._height + 1):
            results = (await self._get("block_results", height=str(height)))["txs_results"] or []
            count += sum(1 for result in results if result.get("code"))
        return count

    def _begin(self, lanes: list[deque[str]]) -> Outcome:
        self._free = deque(lane for lane in lanes if lane)
        self._flying.clear()
        self._outcome = Outcome(time.monotonic())
        return self._outcome

    def _take(self, due: float) -> str:
        lane = self._free.popleft()
        raw = lane.popleft()
        self._flying[raw] = (lane, due)
        self._outcome.sent += 1
        return raw

    async def _keep_full(self, url: str, in_flight: int, end: float) -> None:
        while (now := time.monotonic()) < end and (self._free or self._flying):
            count = min(BATCH, in_flight - len(self._flying), len(self._free))
            if count > 0:
                await self._post(url, [self._take(now) for _ in range(count)])
            else:
                self._landed.clear()
                try:
                    await asyncio.wait_for(self._landed.wait(), max(0.001, end - now))
                except TimeoutError:
                    return

    async def _post(self, url: str, batch: list[str]) -> None:
        """Hand over a batch. CheckTx runs behind the answer, so that it is pipelined; a refusal shows as missing."""
        calls = [
            f'{{"jsonrpc":"2.0","id":{at},"method":"broadcast_tx_async","params":{{"tx":"{raw}"}}}}'
            for at, raw in enumerate(batch)
        ]
        body = f"[{','.join(calls)}]".encode()
        async with self._session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
            text = await response.text()
        if '"error"' in text:
            raise BenchError(f"{url} refused transactions: {text[text.index(chr(34) + 'error') :][:300]}")

    async def _block(self, when: float, height: str) -> None:
        found = (await self._get("block", height=height))["block"]["data"]["txs"] or []
        landed = 0
        for raw in found:
            if (entry := self._flying.pop(raw, None)) is not None:
                lane, due = entry
                self._outcome.latencies.append(when - due)
                landed += 1
                if lane:
                    self._free.append(lane)
        self._height = int(height)
        self._outcome.blocks.append((when, landed))
        self._landed.set()

    async def _drain(self) -> None:
        """Until everything sent is finalised, or nobody may expect that any more."""
        deadline = time.monotonic() + DRAIN_S
        while self._flying and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        self._outcome.missing = len(self._flying)

    async def _get(self, method: str, **params: str) -> Any:
        async with self._session.get(f"{self._urls[0]}/{method}", params=params) as response:
            answer = await response.json()
        if "error" in answer:
            raise BenchError(f"{method}: {answer['error']}")
        return answer["result"]


@asynccontextmanager
async def client(urls: Sequence[str]) -> AsyncIterator[tuple[Load, "asyncio.Task[None]"]]:
    """A client that watches the chain, and the task that does; the task ends only by failing."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        load = Load(session, urls)
        watching = asyncio.create_task(load.watch())
        try:
            yield load, watching
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
