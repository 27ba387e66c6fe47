"""The socket that CometBFT's four connections come to: read greedily, answer in order, write once per batch.

Nothing on the wire says which connection is which, so what a failure means is decided by the method. When a consensus
method fails, this replica no longer knows what its state is: it logs and ends at once, and never answers with a guess.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from abci_app.abci import dispatch
from abci_app.abci.framing import Unframer, frame
from abci_app.application import Application
from abci_app.state.errors import CODESPACE, INTERNAL
from network.errors import ConfigError, RemoteProtocolError

MAX_CONNECTIONS = 16
# The bytes of answers that wait for a slow reader before we stop reading its requests.
WRITE_LIMIT = 4 * 1024 * 1024
FAULT_EXIT = 70  # restarting may help
CONFIG_EXIT = 3  # restarting cannot help

logger = logging.getLogger(__name__)

Observer = Callable[[str, float, bool], None]


def die(reason: str, code: int = FAULT_EXIT) -> None:
    """End the process now: no clean-up by a state that nobody may trust."""
    logger.critical("%s; the process ends", reason, exc_info=code == FAULT_EXIT)
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(code)


class AbciServer:
    """Serves one application on a unix socket. `observe` is told each method, the seconds it took, and whether it failed."""

    def __init__(self, app: Application, path: Path, observe: Observer) -> None:
        self._app = app
        self._path = path
        self._observe = observe
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

    def handle(self, raw: bytes) -> bytes:
        """The framed answer to one message. Raises RemoteProtocolError for one that is not ABCI."""
        method, request = dispatch.decode_request(raw)
        began = perf_counter()
        failed = False
        try:
            response = dispatch.answer(self._app, method, request)
        except Exception as error:  # noqa: BLE001 - the edge of the process: what may go on after a bug is decided here
            response = self._failure(method, error)
            failed = True
        self._observe(method, perf_counter() - began, failed)
        return frame(response)

    def admit(self, connection: "_Connection") -> bool:
        """Whether there is room for another connection; if so it counts."""
        if len(self._connections) >= MAX_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: "_Connection") -> None:
        """A connection is gone."""
        self._connections.discard(connection)

    def _failure(self, method: str, error: Exception) -> bytes:
        if method in dispatch.CONSENSUS_METHODS:
            if isinstance(error, ConfigError):
                die(str(error), CONFIG_EXIT)
            die(f"{method} failed: {error!r}")
        logger.error("%s failed", method, exc_info=True)
        reason = "this node failed to answer; its log says why"
        if method == "check_tx":
            return dispatch.check_failure(INTERNAL, reason, CODESPACE)
        return dispatch.query_failure(reason) if method == "query" else dispatch.exception(reason)


class _Connection(asyncio.Protocol):
    """One connection. While answers pile up unread, nothing more is read, so memory stays bounded."""

    def __init__(self, server: AbciServer) -> None:
        self._server = server
        self._unframer = Unframer()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_LIMIT)
        if not self._server.admit(self):
            logger.warning("a connection more than %d; refused", MAX_CONNECTIONS)
            transport.abort()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        answers = bytearray()
        try:
            for raw in self._unframer.feed(data):
                answers += self._server.handle(raw)
        except RemoteProtocolError as error:
            self._transport.write(bytes(answers) + frame(dispatch.exception(str(error))))
            self._transport.close()
            if isinstance(error, dispatch.UnknownMethod):
                die(str(error))
            logger.warning("closed a connection that does not speak ABCI: %s", error)
            return
        if answers:
            self._transport.write(answers)

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)

    def abort(self) -> None:
        """Drop the connection without waiting."""
        if self._transport is not None:
            self._transport.abort()
