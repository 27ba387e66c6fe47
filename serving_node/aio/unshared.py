"""Prompts that may leave nothing behind in a llama.cpp server.

The server keeps every prompt in its slot and compares the next ones with it; `cache_prompt` false only keeps a prompt from
reading. So an unshared prompt is told its slot, and the slot's erasure is asked for while it is still busy: the server sets
that aside, and takes it up when the slot is freed, before any prompt that comes later.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serving_node.aio.engine_http import EngineHttp
from serving_node.failure import ENGINE_FAILED, ServeError

log = logging.getLogger(__name__)

LOOK_PAUSE_S = 0.02


class Stay:
    """One unshared prompt's time in its slot."""

    __slots__ = ("_erasing", "_http", "slot")

    def __init__(self, http: EngineHttp, slot: int) -> None:
        self._http = http
        self._erasing: asyncio.Task[None] | None = None
        self.slot = slot

    def began(self) -> None:
        """The server works on the prompt: from now on its slot can be asked to be erased afterwards."""
        if self._erasing is None:
            self._erasing = asyncio.create_task(self._erase())

    def goes_on(self) -> None:
        """More will be asked about the prompt although its answer has ended: the slot has to be erased once more."""
        self._erasing = None

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Around an answer that comes whole, of whose beginning nothing tells."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _look(self) -> None:
        while self._erasing is None:
            rows = await self._http.get_json("/slots")
            if any(row["id"] == self.slot and row["is_processing"] for row in rows):
                self.began()
            await asyncio.sleep(LOOK_PAUSE_S)

    async def erased(self) -> None:
        """Waits until nothing of the prompt is left. A caller that is cancelled meanwhile does not stop the erasure."""
        self.began()
        assert self._erasing is not None
        await asyncio.shield(self._erasing)

    async def _erase(self) -> None:
        try:
            await self._http.post(f"/slots/{self.slot}?action=erase", {}, patient=True)
        except ServeError as error:
            # A server that died has forgotten; one that lives and refuses has not.
            log.error("an unshared prompt may still be in the engine's slot", extra={"fields": {"reason": error}})


def fields_of(stay: Stay | None) -> dict[str, object]:
    """What a request made for an unshared prompt tells the server: to read no cache, and where to work."""
    return {"cache_prompt": False, "id_slot": stay.slot} if stay else {}


class Slots:
    """Which slots unshared prompts are in."""

    def __init__(self, http: EngineHttp) -> None:
        self._http = http
        self._taken: set[int] = set()

    @asynccontextmanager
    async def unshared(self) -> AsyncIterator[Stay]:
        """A slot for one prompt; on leaving it is empty again. Raises ServeError."""
        rows = await self._http.get_json("/slots")
        free = [row for row in rows if row["id"] not in self._taken]
        if not free:
            raise ServeError(ENGINE_FAILED, "every slot of the engine has an unshared prompt in it")
        # The idle slot used longest ago: what it holds is lost to its owners.
        slot = min(free, key=lambda row: (row["is_processing"], row.get("id_task", -1)))["id"]
        self._taken.add(slot)
        stay = Stay(self._http, slot)
        try:
            yield stay
        finally:
            try:
                await stay.erased()
            finally:
                self._taken.discard(slot)
