"""One session at work: its core driven over its circuits by a task of its own, so that the caller may read as he likes.

After the caller has its last frame the task goes on until the reply's own end, which is what a relay sees.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from network.aio.circuits import OpenCircuit
from network.aio.path_keeper import PathKeeper, ReadyPathSet
from network.commands import BlamePath, Command, DeliverFrame, EndSession, ReplacePath, SendData
from network.errors import ReplyTruncated
from network.events import Event, PathData, PathLost, PathNotReplaced, PathReplaced
from network.inference import ReplyFrame
from network.session import Session

log = logging.getLogger(__name__)

MAX_UNREAD = 16 * 1024 * 1024  # bytes of frames that a caller has not read


class SessionRun:
    """Drives `session` over `path_set` from now on, and closes the path set at the end."""

    def __init__(self, session: Session, path_set: ReadyPathSet, paths: PathKeeper, clock: Callable[[], float]) -> None:
        self.session = session
        self._path_set = path_set
        self._paths = paths
        self._clock = clock
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._frames: asyncio.Queue[ReplyFrame | Exception] = asyncio.Queue()
        self._unread = 0
        self._one_at_a_time = asyncio.Lock()
        self._replacing: set[asyncio.Task[None]] = set()
        for path, circuit in enumerate(path_set.circuits):
            self._attach(path, circuit)
        self.task = asyncio.create_task(self._run())

    async def next_frame(self) -> ReplyFrame:
        """The next frame of the reply. Raises the session's error."""
        item = await self._frames.get()
        if isinstance(item, Exception):
            raise item
        self._unread -= len(item.payload)
        return item

    def cancel(self) -> None:
        """Nobody wants the reply any more: end the circuits, which tells the model node."""
        self._path_set.close()
        self.task.cancel()

    async def _run(self) -> None:
        try:
            commands = self.session.start(self._clock())
            while not self._do(commands):
                commands = await self._next_commands()
        except Exception as error:  # noqa: BLE001 - whoever waits for a frame must hear of it, and it is the caller's to raise
            if self.session.finished:
                log.error("a reply that was read to its end could not be followed to its last piece: %s", type(error).__name__)
            self._frames.put_nowait(error)
        finally:
            for task in self._replacing:
                task.cancel()
            self._path_set.close()

    async def _next_commands(self) -> list[Command]:
        deadline = self.session.next_deadline()
        assert deadline is not None
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock())):
                event = await self._events.get()
        except TimeoutError:
            return self.session.expire(self._clock())
        return self.session.on_event(event, self._clock())

    def _do(self, commands: list[Command]) -> bool:
        """Carry out what the session asks for. True when it has ended."""
        for command in commands:
            match command:
                case SendData(path, data):
                    circuit = self._path_set.circuits[path]
                    if circuit is not None:
                        circuit.send(data)
                case DeliverFrame(frame):
                    self._deliver(frame)
                case BlamePath(path, reason):
                    circuit = self._path_set.circuits[path]
                    if circuit is not None:
                        self._paths.blame(circuit, reason)
                case ReplacePath(path):
                    task = asyncio.create_task(self._replace(path))
                    self._replacing.add(task)
                    task.add_done_callback(self._replacing.discard)
                case EndSession(error):
                    if error is None:
                        self._paths.worked(self._path_set)
                    else:
                        self._frames.put_nowait(error)
                    return True
                case _:
                    raise AssertionError(f"a session does not ask for {type(command).__name__}")
        return False

    def _deliver(self, frame: ReplyFrame) -> None:
        self._unread += len(frame.payload)
        if self._unread > MAX_UNREAD:
            raise ReplyTruncated("the answer is read so slowly that it was given up")
        self._frames.put_nowait(frame)

    async def _replace(self, path: int) -> None:
        async with self._one_at_a_time:  # or two fresh circuits might share a relay
            circuit = await self._paths.replace(self._path_set, path)
        if circuit is None:
            self._events.put_nowait(PathNotReplaced(path))
            return
        self._events.put_nowait(PathReplaced(path))
        self._attach(path, circuit)

    def _attach(self, path: int, circuit: OpenCircuit | None) -> None:
        """Route what a circuit says into the queue of events; closing it detaches it."""
        if circuit is None or not circuit.is_open:
            self._events.put_nowait(PathLost(path))
        else:
            lost = partial(self._events.put_nowait, PathLost(path))
            circuit.attach(lambda data: self._events.put_nowait(PathData(path, data)), lost)
