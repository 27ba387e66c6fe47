"""Machines of the virtual network: thin shells around the real cores, each with a behaviour between its links and its core."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from evals.adversary.behaviour import Behaviour, Later, Passed
from evals.adversary.clock import VirtualClock
from evals.adversary.wires import Carries, End, Wires, pieces
from network.chain_records import DirectoryEntry
from network.commands import (
    CancelReply,
    CloseLink,
    Command,
    OpenCloveLink,
    OpenLink,
    SendCell,
    SendCells,
    SendHandover,
    StartReply,
    TellWhenWritten,
)
from network.directory import Directory
from network.events import Event, FrameArrived, HandoverArrived, LinkReady
from network.freshness import Rng
from network.handshake import OnionKey
from network.hpke import OnionPrivate
from network.inference import FrameKind, ReplyFrame
from relay.core import RelayCore
from relay.limits import Limits
from serving_node.inbox import Inbox

Timed = tuple[float, ReplyFrame]  # seconds after the request was opened, frame
Answer = Callable[[bytes], Iterable[Timed]]
TERMINAL = (FrameKind.FINAL, FrameKind.FAILED)


class World(Protocol):
    """What a machine sees of the network it is in."""

    clock: VirtualClock
    wires: Wires

    def rng(self, name: str) -> Rng: ...
    def directory_of(self, name: str) -> Directory: ...
    def connect(self, source: End, node: DirectoryEntry, carries: Carries) -> None: ...


class Core(Protocol):
    """What every core answers to."""

    def on_event(self, event: Event, now: float) -> list[Command]: ...
    def expire(self, now: float) -> list[Command]: ...
    def next_deadline(self) -> float | None: ...


class Alarm:
    """Lets a core expire when its deadline comes."""

    def __init__(self, network: World, core: Core, do: Callable[[list[Command]], None]) -> None:
        self._clock = network.clock
        self._core = core
        self._do = do
        self._set_for: float | None = None

    def set(self) -> None:
        """Look at the core's deadline again."""
        deadline = self._core.next_deadline()
        if deadline is not None and (self._set_for is None or deadline < self._set_for):
            self._set_for = deadline
            self._clock.at(deadline, lambda: self._ring(deadline))

    def _ring(self, deadline: float) -> None:
        if self._set_for != deadline:
            return
        self._set_for = None
        self._do(self._core.expire(self._clock.now))
        self.set()


class Machine:
    """One end of links. `behaviour` may be replaced at any time."""

    def __init__(self, network: World, name: str) -> None:
        self.network = network
        self.name = name
        self._links = 0
        self.retired = False
        self.behaviour = Behaviour()

    def behave(self, behaviour: Behaviour) -> None:
        """From now on, this stands between links and core."""
        behaviour.machine = self
        self.behaviour = behaviour

    def new_link(self) -> int:
        """A number for a link."""
        self._links += 1
        return self._links

    def receive(self, link: int, carries: Carries, frame: bytes) -> None:
        """A frame arrived."""
        if type(self.behaviour) is Behaviour:
            self.tell(link, carries, frame)
            return
        for each in pieces(frame) if carries is Carries.CELLS else [frame]:
            self._pass(link, self.behaviour.incoming(link, each), lambda raw: self.tell(link, carries, raw))

    def send(self, link: int, raw: bytes) -> None:
        """The core sends one cell or message."""
        self._pass(link, self.behaviour.outgoing(link, raw), partial(self.put, link))

    def put(self, link: int, raw: bytes) -> None:
        """Put bytes on a link, past the behaviour: this is how one forges."""
        self.network.wires.send((self.name, link), raw)

    def tell(self, link: int, carries: Carries, frame: bytes) -> None:
        """Hand a frame to the core, past the behaviour."""
        if carries is Carries.CLOVES:
            self.on_event(HandoverArrived(link, frame))
            return
        self.on_event(FrameArrived(link, frame))

    def on_event(self, event: Event) -> None:
        """What the core is told."""
        raise AssertionError(f"{self.name} has no core")

    def _pass(self, link: int, passed: Passed, go: Callable[[bytes], None]) -> None:
        for each in passed:
            if isinstance(each, Later):
                self.network.clock.after(each.seconds, partial(self._late, link, go, each.raw))
            else:
                go(each)

    def _late(self, link: int, go: Callable[[bytes], None], raw: bytes) -> None:
        if self.network.wires.peer((self.name, link)) is not None:
            go(raw)


class CoreMachine(Machine):
    """A machine with one core that lives as long as it does."""

    def start(self, core: Any) -> None:
        """The core, once it is made."""
        self._core: Core = core
        self._alarm = Alarm(self.network, core, self.do)

    def on_event(self, event: Event) -> None:
        """Tell the core, do what it asks for."""
        self.do(self._core.on_event(event, self.network.clock.now))

    def do(self, commands: list[Command]) -> None:
        """Carry out what the core asks for, unless another has taken its place."""
        if self.retired:
            return
        for command in commands:
            match command:
                case SendCell(link, raw) | SendHandover(link, raw):
                    self.send(link, raw)
                case SendCells(link, cells):
                    for cell in cells:
                        self.send(link, cell)
                case TellWhenWritten(link):
                    self.on_event(LinkReady(link))
                case OpenLink(link, node):
                    self.network.connect((self.name, link), node, Carries.CELLS)
                case OpenCloveLink(link, node):
                    self.network.connect((self.name, link), node, Carries.CLOVES)
                case CloseLink(link):
                    self.network.wires.cut((self.name, link))
                case StartReply(session, request):
                    self.answer(session, request)
                case CancelReply(session):
                    self.cancel(session)
        self._alarm.set()

    def answer(self, session: int, request: bytes) -> None:
        """Only a model node answers."""
        raise AssertionError(f"{self.name} was asked to answer")

    def cancel(self, session: int) -> None:
        """Only a model node answers."""
        raise AssertionError(f"{self.name} was asked to stop answering")


class RelayMachine(CoreMachine):
    """A relay: the real core. Its onion key is kept here because a malicious operator has it too."""

    def __init__(
        self, network: World, entry: DirectoryEntry, private: bytes, limits: Limits, draw: Callable[[Rng], Rng] | None = None
    ) -> None:
        super().__init__(network, entry.name)
        self.entry = entry
        self.private = private
        rng, onion_keys = network.rng(entry.name), [OnionKey(private, entry.onion_key)]
        view = partial(network.directory_of, entry.name)
        self.core = RelayCore(entry.node_id, onion_keys, view, draw(rng) if draw else rng, limits)
        self.start(self.core)

    def new_link(self) -> int:
        """The core numbers its links."""
        return self.core.new_link()

    @property
    def dropped(self) -> dict[str, int]:
        """What its core dropped, by reason."""
        return {name.removeprefix("dropped_"): n for name, n in self.core.counts.items() if name.startswith("dropped_")}


class ModelMachine(CoreMachine):
    """A model node: the real inbox, and an engine that answers by a script."""

    def __init__(self, network: World, entry: DirectoryEntry, private: OnionPrivate, answer: Answer) -> None:
        super().__init__(network, entry.name)
        self.entry = entry
        self.private = private
        self.requests: list[bytes] = []
        self.cancelled: list[int] = []
        self._answer = answer
        self.inbox = Inbox(private.x25519, private.hybrid)
        self.start(self.inbox)

    def answer(self, session: int, request: bytes) -> None:
        """The engine begins; its frames leave as the script says, until the last one or until nobody listens."""
        self.requests.append(request)
        for number, (seconds, frame) in enumerate(self._answer(request)):
            numbered = replace(frame, sequence=number)
            self.network.clock.after(seconds, lambda frame=numbered: self._say(session, frame))  # type: ignore[misc]

    def cancel(self, session: int) -> None:
        """Nobody listens any more."""
        self.cancelled.append(session)

    def _say(self, session: int, frame: ReplyFrame) -> None:
        if session not in self.cancelled:
            self.do(self.inbox.reply(session, [frame], end=frame.kind in TERMINAL))


def echo(request: bytes) -> list[Timed]:
    """The answer that says the request again, 20 ms later."""
    return [
        (0.0, ReplyFrame(kind=FrameKind.ACCEPTED)),
        (0.02, ReplyFrame(kind=FrameKind.DELTA, payload=request)),
        (0.04, ReplyFrame(kind=FrameKind.FINAL)),
    ]
