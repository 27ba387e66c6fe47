"""The socket that CometBFT's four connections come to: read greedily, answer in order, write once per batch.

Nothing on the wire says which connection is which, so what a failure means is decided by the method. When a consensus
method fails, this replica no longer knows what its state is: it logs and ends at once, and never answers with a guess.
What is not consensus waits for its turn (`turns.py`).
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from abci_app.abci import dispatch
from abci_app.abci.calls import answered, call_of
from abci_app.abci.framing import Unframer, frame
from abci_app.abci.order import KINDS, CallOrder, OrderViolation, WrongConnection
from abci_app.aio.turns import Turns
from abci_app.application import Application
from abci_app.state.errors import CODESPACE, INTERNAL, UpgradeNeeded
from network.errors import ConfigError, RemoteProtocolError

MAX_CONNECTIONS = 16
# The bytes of answers that wait for a slow reader before we stop working for it.
WRITE_LIMIT = 4 * 1024 * 1024
# The bytes of requests that wait for their turn before we stop reading more, and of answers written at once.
READ_LIMIT = 1024 * 1024
WRITE_BATCH = 256 * 1024
FAULT_EXIT = 70  # restarting may help
CONFIG_EXIT = 3  # restarting cannot help
UPGRADE_EXIT = 4  # only another release can help

logger = logging.getLogger(__name__)

Observer = Callable[[str, float, bool], None]


def die(reason: str, code: int = FAULT_EXIT) -> None:
    """End the process now: no clean-up by a state that nobody may trust."""
    logger.critical("%s; the process ends", reason, exc_info=code == FAULT_EXIT)
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(code)


class AbciServer:
    """Serves one application on a unix socket. `observe` is told each method, the seconds it took, and whether it failed;
    `order`, if given, follows the calls and refuses what CometBFT cannot ask; `announce` is told the upgrade for which the
    process is about to end."""

    def __init__(
        self,
        app: Application,
        path: Path,
        observe: Observer,
        order: CallOrder | None = None,
        announce: Callable[[UpgradeNeeded], None] = lambda _upgrade: None,
    ) -> None:
        self._app = app
        self._path = path
        self._observe = observe
        self._order = order
        self._announce = announce
        self.turns = Turns()
        self._server: asyncio.AbstractServer | None = None
        self._connections: set[_Connection] = set()

    async def start(self) -> None:
        """Listen. Raises ConfigError when the path cannot be a socket."""
        loop = asyncio.get_running_loop()
        try:
            self._path.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                self._server = await loop.create_unix_server(lambda: _Connection(self), str(self._path))
            finally:
                os.umask(before)
        except OSError as error:
            raise ConfigError(
                f"app.socket: cannot listen on {self._path} ({error}); choose a shorter or writable path"
            ) from error

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._server.wait_closed()
        self._server = None
        self._path.unlink(missing_ok=True)

    def handle(self, connection: int, raw: bytes) -> bytes:
        """The framed answer to one message. Raises RemoteProtocolError for one that is not ABCI, or out of order."""
        method, request = dispatch.decode_request(raw)
        call = None
        if self._order is not None and method in KINDS and not self._order.passes(connection, method):
            call = call_of(method, request)
            self._order.begin(connection, call)
        began = perf_counter()
        failed = False
        try:
            response = dispatch.respond(self._app, method, request)
            if call is not None and self._order is not None:
                answered(self._order, call, getattr(response, method))
            answer = response.SerializeToString()
        except Exception as error:  # noqa: BLE001 - the edge of the process: what may go on after a bug is decided here
            answer = self._failure(method, error)
            failed = True
        self._observe(method, perf_counter() - began, failed)
        return frame(answer)

    def execute_ahead(self) -> None:
        """Use the time in which the validators vote on what was just accepted."""
        try:
            self._app.execute_ahead()
        except Exception as error:  # noqa: BLE001 - FinalizeBlock will meet the same, and only then does it matter
            logger.warning("a proposal could not be executed ahead: %r", error)

    def admit(self, connection: "_Connection") -> bool:
        """Whether there is room for another connection; if so it counts."""
        if len(self._connections) >= MAX_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: "_Connection") -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self.turns.drop(connection)
        if self._order is not None:
            self._order.closed(id(connection))

    def _failure(self, method: str, error: Exception) -> bytes:
        if isinstance(error, UpgradeNeeded):
            self._announce(error)
            die(str(error), UPGRADE_EXIT)
        if method in dispatch.FATAL_METHODS:
            if isinstance(error, ConfigError):
                die(str(error), CONFIG_EXIT)
            die(f"{method} failed: {error!r}")
        logger.error("%s failed", method, exc_info=True)
        reason = "this node failed to answer; its log says why"
        if method == "check_tx":
            return dispatch.check_failure(INTERNAL, reason, CODESPACE)
        return dispatch.query_failure(reason) if method == "query" else dispatch.exception(reason)


class _Connection(asyncio.Protocol):
    """One connection. While answers pile up unread, or requests undone, nothing more is read, so memory stays bounded."""

    def __init__(self, server: AbciServer) -> None:
        self._server = server
        self._unframer = Unframer()
        self._transport: asyncio.Transport | None = None
        self._inbox: deque[bytes] = deque()
        self._undone = 0  # bytes in the inbox
        self._consensus: bool | None = None  # until a method tells
        self._fault: RemoteProtocolError | None = None  # bytes that are not ABCI came after what the inbox holds
        self._held = False  # the peer does not read its answers
        self._reading = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_LIMIT)
        if not self._server.admit(self):
            logger.warning("a connection more than %d; refused", MAX_CONNECTIONS)
            transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            for raw in self._unframer.feed(data):
                self._inbox.append(raw)
                self._undone += len(raw)
        except RemoteProtocolError as error:
            self._fault = error
        if self._consensus is None and self._inbox:
            self._consensus = dispatch.is_consensus(self._inbox[0])
        if self._consensus and not self._held:
            while self.work(float("inf")):
                pass
            asyncio.get_running_loop().call_soon(self._server.execute_ahead)
        else:
            self._server.turns.ready(self)
        self._read_on()

    def work(self, until: float) -> bool:
        """Answer what lies in the inbox until that moment, and write the answers at once; whether work is left."""
        answers = bytearray()
        try:
            while self._inbox and not self._held and len(answers) < WRITE_BATCH:
                raw = self._inbox.popleft()
                self._undone -= len(raw)
                answers += self._server.handle(id(self), raw)
                if perf_counter() >= until:
                    break
            if self._fault is not None and not self._inbox:
                raise self._fault
        except RemoteProtocolError as error:
            self._refuse(answers, error)
            return False
        if answers and self._transport is not None:
            self._transport.write(answers)
        self._read_on()
        return bool(self._inbox) and not self._held

    def pause_writing(self) -> None:
        self._held = True
        self._read_on()

    def resume_writing(self) -> None:
        self._held = False
        self._server.turns.ready(self)
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inbox.clear()
        self._transport = None
        self._server.forget(self)

    def abort(self) -> None:
        """Drop the connection without waiting."""
        if self._transport is not None:
            self._transport.abort()

    def _read_on(self) -> None:
        """Read while there is room for more."""
        wanted = not self._held and self._undone < READ_LIMIT and self._fault is None
        if self._transport is None or wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _refuse(self, answers: bytearray, error: RemoteProtocolError) -> None:
        """Say why, close, and end the process where going on would be a guess."""
        self._inbox.clear()
        if self._transport is not None:
            self._transport.write(bytes(answers) + frame(dispatch.exception(str(error))))
            self._transport.close()
        fatal = isinstance(error, OrderViolation) and self._consensus and not isinstance(error, WrongConnection)
        if fatal or isinstance(error, dispatch.UnknownMethod):
            die(str(error))
        logger.warning("closed a connection that does not speak ABCI as CometBFT does: %s", error)
