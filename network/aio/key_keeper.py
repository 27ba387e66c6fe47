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
from network.onion_keys import completed, turned

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

    def start(self) -> None:
        """Put the node's keys to use, with what their file lacks. Raises KeyFileError."""
        ring = completed(self.keys.onion, self._clock(), self._rng, hybrid=self._hybrid)
        if ring != self.keys.onion:
            keys = replace(self.keys, onion=ring)
            save(self._path, keys)
            self.keys = keys
        self._use(ring.generations)

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        while True:
            self.check()
            await asyncio.sleep(CHECK_S)

    def check(self) -> None:
        """Do what is due now. A file that cannot be written leaves the keys as they are."""
        held = self.keys.onion
        ring = turned(held, self._entry(), self._clock(), self._rng)
        if ring == held:
            return
        keys = replace(self.keys, onion=ring)
        try:
            save(self._path, keys)
        except KeyFileError as error:
            log.warning("the onion key cannot be changed; it is tried again", extra={"fields": {"reason": error}})
            return
        self.keys = keys
        if ring.generations != held.generations:
            self._use(ring.generations)
            log.info("changed the onion keys that are accepted", extra={"fields": {"keys": len(ring.generations)}})
