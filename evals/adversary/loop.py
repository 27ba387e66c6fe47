"""asyncio on a virtual clock: when nothing can run, time jumps to the next timer. Nothing here waits, nothing is random.

virtually(main)    # runs `main(clock)` to its end and returns what it returns
"""

import asyncio
import heapq
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from evals.adversary.clock import Action, VirtualClock

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """Instead of waiting for sockets, of which there are none, it moves the clock."""

    jumped = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Nothing is ever ready; the time that would have been waited has passed."""
        if timeout is None:
            raise RuntimeError("everybody waits and nothing is due")
        self.jumped += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is virtual. What belongs in a thread runs at once, in no time."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._jumping.jumped

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """The result of the call, made here and now."""
        done: asyncio.Future[Any] = self.create_future()
        done.set_result(func(*args))
        return done


class LoopClock(VirtualClock):
    """The virtual network's clock when an event loop keeps the time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: float) -> None:
        self._loop = loop
        self._start = start
        self._due = []
        self._asked = 0

    @property
    def now(self) -> float:  # type: ignore[override]
        """Unix time as the network's machines see it."""
        return self._start + self._loop.time()

    def at(self, when: float, action: Action) -> None:
        """Do this then, or soon if then has passed. The loop's timers keep no order among equals, so the heap does."""
        self._asked += 1
        heapq.heappush(self._due, (max(when, self.now), self._asked, action))
        self._loop.call_at(max(self._loop.time(), when - self._start), self._next)

    def _next(self) -> None:
        heapq.heappop(self._due)[2]()


def virtually(main: Callable[[LoopClock], Awaitable[T]], start: float = 1_800_000_000.0) -> T:
    """Run a coroutine in virtual time. What is still pending when it ends is cancelled."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_whole(main, LoopClock(loop, start)))
    finally:
        loop.close()


async def _whole(main: Callable[[LoopClock], Awaitable[T]], clock: LoopClock) -> T:
    try:
        return await main(clock)
    finally:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
