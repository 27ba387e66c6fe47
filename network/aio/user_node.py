"""The user node's shell: asks one request over one ready path set, and forgets it afterwards.

Used alike by the gateway and by the verifier: a challenge and a prompt leave through the same lines of code. Every
request gets circuits of its own; when relays die in mid-answer the other paths go on and fresh ones join them.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict, dataclass

from network.aio.dialer import Dialer
from network.aio.guard_store import GuardStore
from network.aio.path_keeper import PathKeeper
from network.aio.ready_paths import KeeperStatus
from network.aio.session_run import SessionRun
from network.chain_records import DirectoryEntry
from network.directory import Directory
from network.errors import ModelUnreachable, NoCircuits, ReplyTimeout, SessionError
from network.freshness import Rng
from network.guards import GuardRules
from network.inference import FrameKind, ReplyFrame
from network.modes import Mode
from network.request_times import Marks, RequestTimes, times_of
from network.sealing import DEFAULT_SEALING, Sealing
from network.session import Session

ATTEMPTS = 3
MAX_LINGERING = 64  # replies that were read to their end and run on to the end of their bucket
KEPT_TIMES = 100
TERMINAL = (FrameKind.FINAL, FrameKind.FAILED)


@dataclass(frozen=True, slots=True)
class UserNodeStatus(KeeperStatus):
    """What a user node can say about itself without naming relays."""

    sessions: int


class UserNode:
    """Asks model nodes anonymously. `directory` answers with the newest verified directory."""

    def __init__(
        self,
        directory: Callable[[], Directory],
        rng: Rng,
        *,
        path_sets: int = 2,
        sealing: Sealing = DEFAULT_SEALING,
        mode: Mode = Mode.DEFAULT,
        clock: Callable[[], float] = time.time,
        dialer: Dialer | None = None,
        guards: GuardRules | None = None,
        guard_store: GuardStore | None = None,
    ) -> None:
        self._rng = rng
        self._sealing = sealing
        self._mode = mode
        self._clock = clock
        self._paths = PathKeeper(
            directory,
            rng,
            path_sets=path_sets,
            clock=clock,
            dialer=dialer,
            guards=guards,
            guard_store=guard_store,
        )
        self._sessions = 0
        self._lingering: dict[asyncio.Task[None], SessionRun] = {}
        self._times: deque[RequestTimes] = deque(maxlen=KEPT_TIMES)
        self._asked = 0

    async def start(self) -> None:
        """Begin to build path sets ahead. Raises ConfigError when the kept guards cannot be read."""
        await self._paths.start()

    async def close(self) -> None:
        """End every circuit and link."""
        for run in tuple(self._lingering.values()):
            run.cancel()
        await asyncio.gather(*self._lingering, return_exceptions=True)
        await self._paths.close()

    def status(self) -> UserNodeStatus:
        """How this user node stands."""
        return UserNodeStatus(**asdict(self._paths.status()), sessions=self._sessions)

    def guards(self) -> tuple[DirectoryEntry, ...]:
        """The guards in use: who may be asked what a guard may be asked. None before they have been chosen."""
        return self._paths.guards()

    def usable(self, node: DirectoryEntry) -> bool:
        """Whether a listed node answers, as far as gossip tells; True where it says nothing."""
        return self._paths.usable(node)

    async def wait_ready(self, timeout: float) -> bool:
        """Wait until a path set is ready; False when none is within `timeout` seconds."""
        return await self._paths.wait_ready(timeout)

    async def ask(
        self, request: bytes, entry: DirectoryEntry, *, deadline_s: float = 3600.0, mode: Mode | None = None
    ) -> AsyncGenerator[ReplyFrame]:
        """The reply's frames, in order, up to FINAL or FAILED. Close the generator to cancel at the model node.

        Raises NoCircuits, ReplyTimeout, ReplyTruncated or RequestTooLong. Until the model node replies, a request
        whose circuits die, or bring nothing, is sent again over others.
        """
        give_up = asyncio.get_running_loop().time() + deadline_s
        watch = _Watch((mode or self._mode).name.lower())
        try:
            for attempt in range(1, ATTEMPTS + 1):
                watch.attempts = attempt
                run = await self._send(request, entry, mode or self._mode, watch)
                try:
                    while True:
                        frame = await self._next(run, give_up)
                        if frame.kind in TERMINAL:
                            watch.outcome = "ok"
                        yield frame
                        if frame.kind in TERMINAL:
                            return
                except (NoCircuits, ReplyTimeout) as error:
                    if not _may_send_again(error, attempt, run):
                        raise
                finally:
                    self._leave(run)
        except SessionError as error:
            watch.outcome = error.code
            raise
        finally:
            self._asked += 1
            self._times.append(watch.times(self._asked))

    def requests(self) -> list[dict[str, object]]:
        """Where the time of the last requests went, the newest last; numbers only."""
        return [times.row() for times in self._times]

    async def _send(self, request: bytes, entry: DirectoryEntry, mode: Mode, watch: "_Watch") -> SessionRun:
        """Take a path set and start a session over it."""
        began = time.perf_counter()
        path_set = await self._paths.take()
        taken = time.perf_counter()
        try:
            session = Session(request, entry, self._clock(), self._rng, mode, self._sealing)
        except BaseException:
            path_set.close()
            raise
        watch.circuits_s += taken - began
        watch.sealing_s += time.perf_counter() - taken
        watch.marks = session.marks
        self._sessions += 1
        return SessionRun(session, path_set, self._paths, self._clock)

    async def _next(self, run: SessionRun, give_up: float) -> ReplyFrame:
        try:
            async with asyncio.timeout_at(give_up):
                return await run.next_frame()
        except TimeoutError:
            raise ReplyTimeout("the request's deadline has passed") from None

    def _leave(self, run: SessionRun) -> None:
        """The caller has what he wants: a finished reply is followed to its end in the background, any other cancelled."""
        self._sessions -= 1
        if not run.session.finished:
            run.cancel()
            return
        self._lingering[run.task] = run
        run.task.add_done_callback(lambda task: self._lingering.pop(task, None))
        if len(self._lingering) > MAX_LINGERING:
            next(iter(self._lingering.values())).cancel()


def _may_send_again(error: SessionError, attempt: int, run: SessionRun) -> bool:
    """Whether other circuits may do better. Silence has two causes, relays that hang and a model node that does; so once."""
    if isinstance(error, ReplyTimeout):
        return attempt == 1 and run.session.ended and not run.session.started
    return not isinstance(error, ModelUnreachable) and attempt < ATTEMPTS


class _Watch:
    """What one request's time went into, as far as its own shell knows."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.outcome = "cancelled"
        self.attempts = 0
        self.circuits_s = 0.0
        self.sealing_s = 0.0
        self.marks: Marks | None = None

    def times(self, number: int) -> RequestTimes:
        """As it is kept."""
        return times_of(number, self.mode, self.outcome, self.attempts, self.circuits_s, self.sealing_s, self.marks)
