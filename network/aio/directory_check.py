"""Asks two guards now and then by which directory they route, and all of them when one contradicts ours."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from network.aio.dialer import UNREACHABLE, Dialer
from network.aio.gossip import fetch_summary
from network.chain_records import DirectoryEntry
from network.directory import Directory
from network.directory_watch import DirectoryWatch, Verdict
from network.errors import RemoteProtocolError
from network.freshness import Rng

log = logging.getLogger(__name__)

ASKED = 2
PAUSE_SECONDS = (30.0, 90.0)
FIRST_SECONDS = 2.0  # until the first path set stands, nobody knows which guards answer


class DirectoryCheck:
    """One user's comparison. `guards` are those in use; `on_checked` hears whether there is a fork, and who was outvoted."""

    def __init__(
        self,
        directory: Callable[[], Directory],
        guards: Callable[[], Sequence[DirectoryEntry]],
        dialer: Dialer,
        rng: Rng,
        on_checked: Callable[[bool, Sequence[bytes]], None],
    ) -> None:
        self._directory = directory
        self._guards = guards
        self._dialer = dialer
        self._rng = rng
        self._on_checked = on_checked
        self._watch = DirectoryWatch()
        self._forked = False
        self.epochs_behind = 0

    async def run(self) -> None:
        """Until cancelled."""
        low, high = PAUSE_SECONDS
        pause = FIRST_SECONDS
        while True:
            await asyncio.sleep(pause)
            await self.once()
            pause = FIRST_SECONDS if not self._guards() else low + (high - low) * self._rng(1)[0] / 255

    async def once(self) -> None:
        """Ask, and conclude."""
        guards = sorted(self._guards(), key=lambda _: self._rng(8))
        names = [guard.node_id for guard in guards]
        self._watch.keep_only(names)
        await self._ask(guards[:ASKED])
        if self._contradicted(names):
            await self._ask(guards[ASKED:])
        forked = self._watch.forked(names)
        self.epochs_behind = self._watch.epochs_behind(names)
        if forked and not self._forked:
            log.error("guards route by another directory of the same height than this node has proven; no circuits are built")
        self._forked = forked
        self._on_checked(forked, () if forked else self._contradicted(names))

    def _contradicted(self, names: Iterable[bytes]) -> list[bytes]:
        self._watch.note(self._directory())
        return [name for name in names if self._watch.verdict(name) is Verdict.DIFFERS]

    async def _ask(self, guards: Sequence[DirectoryEntry]) -> None:
        await asyncio.gather(*(self._ask_one(guard) for guard in guards))

    async def _ask_one(self, guard: DirectoryEntry) -> None:
        try:
            summary = await fetch_summary(self._dialer, guard)
        except (*UNREACHABLE, RemoteProtocolError) as error:
            log.debug("a guard does not say which directory it routes by: %s", type(error).__name__)
        else:
            self._watch.heard(guard.node_id, summary)
