"""Fair turns on the event loop: what consensus asks is done at once, everything else in slices of a few milliseconds.

Between two slices the loop looks at its sockets again, so that a flood of queries or CheckTx on one connection delays a
consensus call by one slice and the message under way, whatever lies unread. Connections with work take turns in the order
in which it came.
"""

import asyncio
from collections import deque
from time import perf_counter
from typing import Protocol

SLICE_SECONDS = 0.002


class Worker(Protocol):
    """Somebody with work that can be done in pieces."""

    def work(self, until: float) -> bool:
        """Work until that moment of `perf_counter`, one piece at least; whether something is left to do now."""


class Turns:
    """Gives every worker with work its turn."""

    def __init__(self) -> None:
        self._waiting: deque[Worker] = deque()
        self._scheduled = False

    def ready(self, worker: Worker) -> None:
        """This worker has work. To say so again before its turn changes nothing."""
        if worker not in self._waiting:
            self._waiting.append(worker)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def drop(self, worker: Worker) -> None:
        """This worker is gone."""
        if worker in self._waiting:
            self._waiting.remove(worker)

    def _turn(self) -> None:
        self._scheduled = False
        until = perf_counter() + SLICE_SECONDS
        while self._waiting:
            worker = self._waiting.popleft()
            if worker.work(until):
                self.ready(worker)
            if perf_counter() >= until:
                break
        if self._waiting and not self._scheduled:
            self.ready(self._waiting[0])
