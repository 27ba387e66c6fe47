"""Keeps one validator alive: the application first, then CometBFT on its socket, then the verifier beside them.

CometBFT and its application cannot go on without each other, and after the application's death CometBFT exits with 0 or
hangs for ever (`docs/adr/0011-supervisor.md`); so when either ends, the other is killed at once and both start again. The
verifier lives and dies by itself. No asyncio here: this process waits, and four of them share a small machine.
"""

import json
import logging
import os
import select
import signal
import socket
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from time import monotonic

from abci_app.aio.children import Child
from abci_app.aio.preflight import preflight
from abci_app.config import ValidatorConfig
from network.config import Address
from network.errors import ConfigError, PlanetServeError

SOCKET_PATIENCE = 30.0
STOP_PATIENCE = 3.0
HEALTHY_SECONDS = 60.0
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
# Below the engines, so that scoring never slows an answer, yet not starved out of its window on a machine that is full.
VERIFIER_NICE = 5
FIRST_VERIFIER_DELAY, LONGEST_VERIFIER_DELAY = 5.0, 60.0
CANNOT_START = 3

# What CometBFT says when starting it again cannot help, and what the operator can do.
_HOPELESS = {
    "is higher than core": "the application's data is ahead of CometBFT's, as after restoring an older CometBFT; "
    "move the [app] data directory away, CometBFT replays its blocks into a new one",
    "AppHash does not match": "the application's data and CometBFT's blocks disagree; move the [app] data directory away to "
    "replay the chain",
}

logger = logging.getLogger(__name__)


class HopelessStart(PlanetServeError):
    """The validator cannot run, however often it is started."""


class Supervisor:
    """One validator's processes. `run` returns when SIGTERM or SIGINT has stopped them all."""

    def __init__(self, config: ValidatorConfig, path: Path) -> None:
        self._config = config
        self._arguments = ("--config", str(path))
        self._stopping = False
        self._app: Child | None = None
        self._comet: Child | None = None
        self._verifier: Child | None = None
        self._verifier_from = 0.0
        self._verifier_delay = FIRST_VERIFIER_DELAY
        self._comet_tail: deque[str] = deque(maxlen=20)
        self._comet_rest = b""
        self._wake_in, self._wake_out = os.pipe()

    def run(self) -> int:
        """Keep the validator running. Raises ConfigError or HopelessStart when it cannot, with nothing left behind."""
        self._catch_signals()
        try:
            preflight(self._config)
        except ConfigError:
            if self._stopping:  # Ctrl-C reached what it had asked, too
                return 0
            raise
        try:
            self._keep_alive()
        finally:
            self._end_verifier()
            self._end_pair()
        return 0

    def _keep_alive(self) -> None:
        delay = FIRST_DELAY
        while not self._stopping:
            began = monotonic()
            reason = self._live()
            if self._stopping:
                return
            self._end_pair()
            if monotonic() - began > HEALTHY_SECONDS:
                delay = FIRST_DELAY
            logger.warning("%s; application and CometBFT start again in %.1f s", reason, delay)
            resume = monotonic() + delay
            while not self._stopping and monotonic() < resume:
                self._wait(resume - monotonic())
            delay = min(LONGEST_DELAY, delay * 2)

    def _live(self) -> str:
        """Start the pair and stay until one of them ends; says what ended."""
        app = self._app = Child("the application", [sys.executable, "-m", "abci_app.app", *self._arguments])
        if not self._await_socket(app):
            return "stopped" if self._stopping else self._application_end(app)
        comet = self._comet = Child("CometBFT", self._comet_command(), env={"GOMAXPROCS": "1", "GOGC": "50"}, piped=True)
        assert comet.process.stdout is not None
        os.set_blocking(comet.process.stdout.fileno(), False)
        while not self._stopping:
            if app.exit_code is not None:
                return self._application_end(app)
            if comet.exit_code is not None:
                return self._comet_end(comet)
            self._wait(self._mind_verifier())
        return "stopped"

    def _comet_command(self) -> list[str]:
        comet = self._config.comet
        return [
            str(comet.binary),
            "start",
            f"--home={comet.home}",
            f"--proxy_app=unix://{self._config.socket}",
            f"--rpc.laddr=tcp://{comet.rpc}",
            f"--p2p.laddr=tcp://{comet.p2p}",
        ]

    def _await_socket(self, app: Child) -> bool:
        """Whether the application listens; CometBFT would sleep 3 s after a first dial that fails."""
        deadline = monotonic() + SOCKET_PATIENCE
        while not self._stopping and app.exit_code is None and monotonic() < deadline:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
                probe.connect(str(self._config.socket))
                return True
            self._wait(0.05)
        return False

    def _application_end(self, app: Child) -> str:
        code = app.exit_code
        if code == CANNOT_START:
            raise HopelessStart("the application cannot start; its message stands above")
        return app.describe_end() if code is not None else f"the application did not listen within {SOCKET_PATIENCE:.0f} s"

    def _comet_end(self, comet: Child) -> str:
        self._read_comet()
        said = "\n".join(self._comet_tail)
        for words, advice in _HOPELESS.items():
            if words in said:
                raise HopelessStart(f"{comet.describe_end()}: {advice}")
        return comet.describe_end()

    def _mind_verifier(self) -> float:
        """Start the verifier once the chain moves, and again when it died; answers how long to wait before the next look."""
        if self._config.verifier is None:
            return 60.0
        child = self._verifier
        if child is not None and child.exit_code is None:
            return 60.0
        now = monotonic()
        if child is not None:
            if now - child.started > HEALTHY_SECONDS:
                self._verifier_delay = FIRST_VERIFIER_DELAY
            logger.warning("%s; it starts again in %.0f s", child.describe_end(), self._verifier_delay)
            self._verifier, self._verifier_from = None, now + self._verifier_delay
            self._verifier_delay = min(LONGEST_VERIFIER_DELAY, self._verifier_delay * 2)
        if now < self._verifier_from:
            return self._verifier_from - now
        if not is_ready(self._config.node.metrics):
            return 0.5
        command = [sys.executable, "-m", "abci_app.verifier", *self._arguments]
        self._verifier = Child("the verifier", command, nice=VERIFIER_NICE)
        return 60.0

    def _wait(self, seconds: float) -> None:
        """Until a signal, a child's end, or `seconds`; passes CometBFT's lines on meanwhile."""
        watched: list[int] = [self._wake_in]
        pipe = self._comet.process.stdout if self._comet is not None else None
        if pipe is not None and not pipe.closed:
            watched.append(pipe.fileno())
        readable, _, _ = select.select(watched, [], [], max(0.0, seconds))
        if self._wake_in in readable:
            os.read(self._wake_in, 4096)
        if len(readable) > (self._wake_in in readable):
            self._read_comet()

    def _read_comet(self) -> None:
        pipe = self._comet.process.stdout if self._comet is not None else None
        if pipe is None or pipe.closed:
            return
        while True:
            data = pipe.read(65536)
            if data is None:
                return
            if not data:
                pipe.close()
                return
            *lines, self._comet_rest = (self._comet_rest + data).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                self._comet_tail.append(text)
                print(text, file=sys.stderr, flush=True)

    def _end_pair(self) -> None:
        """Both ended, CometBFT first. Gently only when we were told to stop: otherwise one of them may never answer."""
        patience = STOP_PATIENCE if self._stopping else 0.0
        for child in (self._comet, self._app):
            if child is not None:
                child.end(patience)
        self._read_comet()
        self._app = self._comet = None
        self._comet_tail.clear()
        self._comet_rest = b""

    def _end_verifier(self) -> None:
        if self._verifier is not None:
            self._verifier.end(STOP_PATIENCE)
            self._verifier = None

    def _catch_signals(self) -> None:
        os.set_blocking(self._wake_out, False)
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True


def is_ready(metrics: Address) -> bool:
    """Whether the application's `GET /status` says ready. Plain sockets: an HTTP library would double this process."""
    with suppress(OSError, ValueError), socket.create_connection((metrics.host, metrics.port), timeout=1.0) as link:
        link.sendall(b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n")
        raw = b""
        while part := link.recv(65536):
            raw += part
        return bool(json.loads(raw.partition(b"\r\n\r\n")[2]).get("ready"))
    return False
