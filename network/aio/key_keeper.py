"""Changes a serving node's onion keys while it runs: stores the new ones, then uses them, then lets them be announced."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from network.aio.keys import KeyFileError, NodeKeys, save
from network.chain_records import DirectoryEntry
from network.freshness import Rng
from network.hpke import OnionPrivate
from network.onion_keys import KeyRing, completed, turned

log = logging.getLogger(__name__)

CHECK_S = 10.0
Use = Callable[[tuple[OnionPrivate, ...]], None]


class KeyKeeper:
    """`keys` are the node's own as of now; `entry` answers what the directory says about it; `use` is told what opens."""

    def __init__(
        self,
        path: Path,
        keys: NodeKeys,
        entry: Callable[[], DirectoryEntry | None],
        use: Use,
        rng: Rng,
        *,
        hybrid: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = keys
        self._path = path
        self._entry = entry
        self._use = use
        self._rng = rng
        self._hybrid = hybrid
        self._clock = clock
        self._stuck = False

    def start(self) -> None:
        """Put the node's keys to use, with what their file lacks if it can be written."""
        self._store(completed(self.keys.onion, self._clock(), self._rng, hybrid=self._hybrid))
        self._use(self.keys.onion.generations)

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        while True:
            self.check()
            await asyncio.sleep(CHECK_S)

    def check(self) -> None:
        """Do what is due now. A file that cannot be written leaves the keys as they are."""
        held = self.keys.onion.generations
        self._store(turned(self.keys.onion, self._entry(), self._clock(), self._rng))
        if self.keys.onion.generations != held:
            self._use(self.keys.onion.generations)
            log.info("changed the onion keys that are accepted", extra={"fields": {"keys": len(self.keys.onion.generations)}})

    def _store(self, ring: KeyRing) -> None:
        """Make `ring` the node's, on the disk first."""
        if ring == self.keys.onion:
            return
        keys = replace(self.keys, onion=ring)
        try:
            save(self._path, keys)
        except KeyFileError as error:
            if not self._stuck:
                log.warning(
                    "the onion keys stay as they are until their file can be written", extra={"fields": {"reason": error}}
                )
            self._stuck = True
            return
        self.keys = keys
        self._stuck = False
