"""The real shells on virtual wires: `UserNode` with its path keeper, and `CloveServer`, in virtual time (`loop.py`).

What `user.py` and `machines.py` leave out is here: building ahead, retries, back-off, replacing a circuit, jitter, ticks.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import aiohttp

from evals.adversary.machines import Machine
from evals.adversary.network import VirtualNetwork
from evals.adversary.wires import Carries, pieces
from network.aio.dialer import Dialer
from network.aio.user_node import UserNode
from network.chain_records import DirectoryEntry
from network.codec import encode
from network.directory_summary import DIRECTORY_PATH, summary_of
from network.errors import PlanetServeError
from network.events import Event
from network.ids import Role
from network.inference import FrameKind, ReplyFrame
from serving_node.aio import clove_server
from serving_node.aio.clove_server import CloveServer, ReplyStream

Handler = Callable[[bytes, ReplyStream], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Message:
    data: bytes
    type: aiohttp.WSMsgType = aiohttp.WSMsgType.BINARY


class VirtualSocket:
    """What the shells take for a WebSocket."""

    def __init__(self, machine: "SocketMachine", link: int, carries: Carries) -> None:
        self._machine = machine
        self._link = link
        self._carries = carries
        self._arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = False

    async def prepare(self, request: object) -> None:
        """Nothing to agree on."""

    async def send_bytes(self, data: bytes) -> None:
        """One frame."""
        if self.closed:
            raise ConnectionResetError("the link is gone")
        for each in pieces(data) if self._carries is Carries.CELLS else [data]:
            self._machine.send(self._link, each)

    async def close(self, **_: object) -> None:
        """Cut the link."""
        if not self.closed:
            self._machine.network.wires.cut((self._machine.name, self._link))
            self.end()

    def end(self) -> None:
        """The link is gone."""
        self.closed = True
        self._arrived.put_nowait(None)

    def arrive(self, frame: bytes) -> None:
        """The wires bring a frame."""
        self._arrived.put_nowait(frame)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """There is no transport."""
        return default

    async def receive(self) -> Any:
        """The next frame, or word that there is none any more."""
        frame = await self._arrived.get()
        return _Message(b"", aiohttp.WSMsgType.CLOSED) if frame is None else _Message(frame)

    def __aiter__(self) -> "VirtualSocket":
        return self

    async def __anext__(self) -> Any:
        frame = await self._arrived.get()
        if frame is None:
            raise StopAsyncIteration
        return _Message(frame)


class SocketMachine(Machine):
    """A machine whose links are virtual sockets."""

    def __init__(self, network: VirtualNetwork, name: str) -> None:
        super().__init__(network, name)
        self.sockets: dict[int, VirtualSocket] = {}

    def tell(self, link: int, carries: Carries, frame: bytes) -> None:
        """Hand a frame to the socket."""
        held = self.sockets.get(link)
        if held is not None:
            held.arrive(frame)

    def on_event(self, event: Event) -> None:
        """A link is lost."""
        held = self.sockets.pop(event.link, None)  # type: ignore[union-attr]
        if held is not None:
            held.end()


class VirtualDialer(Dialer):
    """Connects over the virtual wires."""

    def __init__(self, machine: SocketMachine) -> None:
        super().__init__()
        self._machine = machine

    async def open_socket(self, node: DirectoryEntry, path: str, limit: int) -> Any:
        """A link to a listed node. Raises ConnectionError when it is down."""
        machine = self._machine
        link = machine.new_link()
        socket = machine.sockets[link] = VirtualSocket(machine, link, Carries.CELLS)
        machine.network.connect((machine.name, link), node, Carries.CELLS)
        await asyncio.sleep(0)
        if socket.closed:
            raise ConnectionRefusedError("nobody listens there")
        return socket

    @asynccontextmanager
    async def request(self, method: str, node: DirectoryEntry, path: str, **options: Any) -> AsyncIterator[Any]:
        """Which directory a relay routes by; virtual machines answer nothing else."""
        network = self._machine.network
        await asyncio.sleep(0)
        if path != DIRECTORY_PATH:
            raise ConnectionRefusedError("nobody listens there")
        yield _Answer(encode(summary_of(network.directory_of(node.name))))


class _Answer:
    """An HTTP answer, as far as it is read."""

    status = 200

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.content = self

    async def iter_any(self) -> AsyncIterator[bytes]:
        """The body."""
        yield self._body


class RealUser(SocketMachine):
    """A user node as it runs: `node` is the product's."""

    def __init__(self, network: VirtualNetwork, name: str, **options: Any) -> None:
        super().__init__(network, name)
        clock = network.clock
        self.node = UserNode(
            lambda: network.directory_of(name),
            network.rng(name),
            clock=lambda: clock.now,
            dialer=VirtualDialer(self),
            **options,
        )

    async def ask(self, request: bytes, entry: DirectoryEntry, **options: Any) -> "Answered":
        """One prompt, to its end or to its error."""
        found = Answered()
        try:
            async for frame in self.node.ask(request, entry, **options):
                found.frames.append(frame)
        except PlanetServeError as error:
            found.error = error
        return found


class Answered:
    """What came of one prompt."""

    def __init__(self) -> None:
        self.frames: list[ReplyFrame] = []
        self.error: PlanetServeError | None = None

    @property
    def text(self) -> bytes:
        """What the answer says."""
        return b"".join(frame.payload for frame in self.frames if frame.kind == FrameKind.DELTA)

    @property
    def whole(self) -> bool:
        """Whether the answer is complete."""
        return self.error is None and bool(self.frames) and self.frames[-1].kind == FrameKind.FINAL


class RealModel(SocketMachine):
    """A model node's clove server as it runs; its engine is a script."""

    def __init__(self, network: VirtualNetwork, entry: DirectoryEntry, private: bytes, handler: Handler) -> None:
        super().__init__(network, entry.name)
        self.entry = entry
        clock = network.clock
        self.server = CloveServer(private, handler, network.rng(entry.name), clock=lambda: clock.now)
        self._tasks: set[asyncio.Task[Any]] = set()

    def new_link(self) -> int:
        """A proxy connects."""
        link = super().new_link()
        socket = self.sockets[link] = VirtualSocket(self, link, Carries.CLOVES)
        task = asyncio.get_running_loop().create_task(self._serve(socket))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return link

    async def _serve(self, socket: VirtualSocket) -> None:
        _COMING.set(socket)
        with _VIRTUAL:
            serving = asyncio.ensure_future(self.server.routes()[0].handler(_FROM))
            await asyncio.sleep(0)
        await serving


class _VirtualAccepting:
    """While it is entered, however often, the clove server takes the socket of its own context for the one it accepts."""

    def __init__(self) -> None:
        self._entered = 0
        self._patch = patch.object(clove_server, "accept_socket", lambda limit: _COMING.get())

    def __enter__(self) -> None:
        if not self._entered:
            self._patch.start()
        self._entered += 1

    def __exit__(self, *_: object) -> None:
        self._entered -= 1
        if not self._entered:
            self._patch.stop()


_FROM: Any = SimpleNamespace(remote="127.0.0.1")
_COMING: ContextVar[Any] = ContextVar("coming")
_VIRTUAL = _VirtualAccepting()


def real_user(network: VirtualNetwork, **options: Any) -> RealUser:
    """A user node with its path keeper; start and close its `node`."""
    user = RealUser(network, f"real-user-{len(network.machines)}", **options)
    network.machines[user.name] = user
    return user


def real_model(network: VirtualNetwork, handler: Handler) -> RealModel:
    """A model node with its clove server, listed at once."""
    name = f"real-model-{len(network.models)}"
    entry, private = network.identity(name, Role.MODEL, f"family-{name}")
    model = RealModel(network, entry, private, handler)
    network.enlist(model, entry)
    return model


def script(frames: Iterable[tuple[float, ReplyFrame]]) -> Handler:
    """A handler that sends these frames, each so many seconds after the request was opened."""
    planned = list(frames)

    async def answer(request: bytes, stream: ReplyStream) -> None:
        started = asyncio.get_running_loop().time()
        for seconds, frame in planned:
            await asyncio.sleep(max(0.0, started + seconds - asyncio.get_running_loop().time()))
            stream.send(frame)

    return answer
