"""The user node's shell: asks one request over one ready path set, and forgets it afterwards.

Used alike by the gateway and by the verifier: a challenge and a prompt leave through the same lines of code. Every
request gets circuits of its own; when a relay dies in mid-answer the other paths finish it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from network.aio.dialer import Dialer
from network.aio.guard_store import GuardStore
from network.aio.path_keeper import PathKeeper, ReadyPathSet
from network.chain_records import DirectoryEntry
from network.commands import BlamePath, Command, DeliverFrame, EndSession, SendData
from network.directory import Directory
from network.events import Event, PathData, PathLost
from network.freshness import Rng
from network.gossip import GossipStatus
from network.guards import GuardRules
from network.inference import ReplyFrame
from network.sealing import DEFAULT_SEALING, Sealing
from network.session import ModelUnreachable, NoCircuits, ReplyTimeout, Session

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class UserNodeStatus:
    """What a user node can say about itself without naming relays."""

    path_sets_ready: int
    path_sets_wanted: int
    circuits_open: int
    sessions: int
    built: int
    failed: int
    reason: str
    guards_wanted: int
    guards_answering: int
    directory_epochs_behind: int
    gossip: GossipStatus


class UserNode:
    """Asks model nodes anonymously. `directory` answers with the newest verified directory."""

    def __init__(
        self,
        directory: Callable[[], Directory],
        rng: Rng,
        *,
        path_sets: int = 2,
        sealing: Sealing = DEFAULT_SEALING,
        clock: Callable[[], float] = time.time,
        dialer: Dialer | None = None,
        guards: GuardRules | None = None,
        guard_store: GuardStore | None = None,
    ) -> None:
        self._rng = rng
        self._sealing = sealing
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

    async def start(self) -> None:
        """Begin to build path sets ahead. Raises ConfigError when the kept guards cannot be read."""
        await self._paths.start()

    async def close(self) -> None:
        """End every circuit and link."""
        await self._paths.close()

    def status(self) -> UserNodeStatus:
        """How this user node stands."""
        paths = self._paths.status()
        return UserNodeStatus(
            paths.path_sets_ready,
            paths.path_sets_wanted,
            paths.circuits_open,
            self._sessions,
            paths.built,
            paths.failed,
            paths.reason,
            paths.guards_wanted,
            paths.guards_answering,
            paths.directory_epochs_behind,
            paths.gossip,
        )

    def guards(self) -> tuple[DirectoryEntry, ...]:
        """The guards in use: who may be asked what a guard may be asked. None before they have been chosen."""
        return self._paths.guards()

    def usable(self, node: DirectoryEntry) -> bool:
        """Whether a listed node answers, as far as gossip tells; True where it says nothing."""
        return self._paths.usable(node)

    async def wait_ready(self, timeout: float) -> bool:
        """Wait until a path set is ready; False when none is within `timeout` seconds."""
        return await self._paths.wait_ready(timeout)

    async def ask(self, request: bytes, entry: DirectoryEntry, *, deadline_s: float = 3600.0) -> AsyncGenerator[ReplyFrame]:
        """The reply's frames, in order, up to FINAL or FAILED. Close the generator to cancel at the model node.

        Raises NoCircuits, ReplyTimeout, ReplyTruncated or RequestTooLong. Until the first frame has come, a request
        whose circuits die is sent again over others.
        """
        give_up = asyncio.get_running_loop().time() + deadline_s
        for attempt in range(ATTEMPTS):
            path_set = await self._paths.take()
            self._sessions += 1
            try:
                session = Session(request, entry, self._clock(), self._rng, sealing=self._sealing)
                async with aclosing(self._run(session, path_set, give_up)) as frames:
                    async for frame in frames:
                        yield frame
                return
            except NoCircuits as error:
                if isinstance(error, ModelUnreachable) or attempt == ATTEMPTS - 1:
                    raise
            finally:
                self._sessions -= 1
                path_set.close()

    async def _run(self, session: Session, path_set: ReadyPathSet, give_up: float) -> AsyncGenerator[ReplyFrame]:
        """Drive one session over its circuits."""
        events: asyncio.Queue[Event] = asyncio.Queue()
        _attach(path_set, events)
        commands = session.start()
        while True:
            for command in commands:
                if isinstance(command, DeliverFrame):
                    yield command.frame
                elif isinstance(command, EndSession):
                    if command.error is not None:
                        raise command.error
                    self._paths.worked(path_set)
                    return
                else:
                    self._do(command, path_set)
            commands = await self._next_commands(session, events, give_up)

    async def _next_commands(self, session: Session, events: asyncio.Queue[Event], give_up: float) -> list[Command]:
        deadline = session.next_deadline()
        loop = asyncio.get_running_loop()
        wait = give_up - loop.time()
        if deadline is not None:
            wait = min(wait, deadline - self._clock())
        try:
            async with asyncio.timeout(max(0.0, wait)):
                event = await events.get()
        except TimeoutError:
            if loop.time() >= give_up:
                raise ReplyTimeout("the request's deadline has passed") from None
            return session.expire(self._clock())
        return session.on_event(event, self._clock())

    def _do(self, command: Command, path_set: ReadyPathSet) -> None:
        if isinstance(command, SendData):
            circuit = path_set.circuits[command.path]
            if circuit is not None:
                circuit.send(command.data)
        elif isinstance(command, BlamePath):
            circuit = path_set.circuits[command.path]
            if circuit is not None:
                self._paths.blame(circuit, command.reason)


def _attach(path_set: ReadyPathSet, events: asyncio.Queue[Event]) -> None:
    """Route what the circuits say into one queue of session events; closing a circuit detaches it."""
    for path, circuit in enumerate(path_set.circuits):
        if circuit is None or not circuit.is_open:
            events.put_nowait(PathLost(path))
        else:
            circuit.attach(partial(_put_data, events, path), partial(events.put_nowait, PathLost(path)))


def _put_data(events: asyncio.Queue[Event], path: int, data: bytes) -> None:
    events.put_nowait(PathData(path, data))
