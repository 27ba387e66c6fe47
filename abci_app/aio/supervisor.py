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
from contextlib import suppress
from pathlib import Path
from time import monotonic

from abci_app.aio import upgrades
from abci_app.aio.children import Child
from abci_app.aio.comet import CometBFT
from abci_app.aio.guard import TICK, SigningGuard
from abci_app.aio.notify import Notifier
from abci_app.aio.preflight import preflight
from abci_app.config import ValidatorConfig
from abci_app.upgrades import NEEDED_EXIT
from network.config import Address
from network.errors import ConfigError, PlanetServeError

SOCKET_PATIENCE = 30.0
STOP_PATIENCE = 3.0
FAULT_PATIENCE = 0.5
HEALTHY_SECONDS = 60.0
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
# Below the engines, so that scoring never slows an answer, yet not starved out of its window on a machine that is full.
VERIFIER_NICE = 5
FIRST_VERIFIER_DELAY, LONGEST_VERIFIER_DELAY = 5.0, 60.0
CANNOT_START = 3

logger = logging.getLogger(__name__)


class HopelessStart(PlanetServeError):
    """The validator cannot run, however often it is started."""

    exit_code = CANNOT_START


class UpgradeMissing(HopelessStart):
    """The chain has upgraded, and no release that can go on is registered."""

    exit_code = NEEDED_EXIT


class Supervisor:
    """One validator's processes. `run` returns when SIGTERM or SIGINT has stopped them all."""

    def __init__(self, config: ValidatorConfig, path: Path, notify: str = "") -> None:
        """`notify` is where systemd listens, empty without one."""
        self._config = config
        self._arguments = ("--config", str(path))
        self._notifier = Notifier(notify)
        self._guard: SigningGuard | None = None
        self._python = sys.executable
        self._stopping = False
        self._app: Child | None = None
        self._comet: CometBFT | None = None
        self._verifier: Child | None = None
        self._verifier_from = 0.0
        self._verifier_delay = FIRST_VERIFIER_DELAY
        self._wake_in, self._wake_out = os.pipe()

    def run(self) -> int:
        """Keep the validator running. Raises ConfigError or HopelessStart when it cannot, with nothing left behind."""
        self._catch_signals()
        try:
            self._guard = SigningGuard(self._config)
            preflight(self._config)
            self._python = upgrades.python(upgrades.load(self._config))
            self._guard.check()
            self._keep_alive()
        except ConfigError:
            if not self._stopping:  # Ctrl-C reached what preflight had asked, too
                raise
        finally:
            self._end_verifier()
            self._end_pair()
            if self._guard is not None:
                self._guard.tick()
                self._guard.close()
        return 0

    def _keep_alive(self) -> None:
        delay = FIRST_DELAY
        while not self._stopping:
            began = monotonic()
            reason = self._live()
            if self._stopping:
                return
            self._end_pair()
            if reason is None:
                continue
            if monotonic() - began > HEALTHY_SECONDS:
                delay = FIRST_DELAY
            logger.warning("%s; application and CometBFT start again in %.1f s", reason, delay)
            resume = monotonic() + delay
            while not self._stopping and monotonic() < resume:
                self._wait(resume - monotonic())
            delay = min(LONGEST_DELAY, delay * 2)

    def _live(self) -> str | None:
        """Start the pair and stay until one of them ends; says what ended, None to go on at once."""
        assert self._guard is not None
        app = self._app = Child("the application", [self._python, "-m", "abci_app.app", *self._arguments])
        if not self._await_socket(app):
            return "stopped" if self._stopping else self._application_end(app)
        comet = self._comet = CometBFT(self._config, self._guard.descriptors)
        while not self._stopping:
            if app.exit_code is not None:
                return self._application_end(app)
            if comet.fault and app.ends_within(FAULT_PATIENCE):  # the application's death made it fail
                return self._application_end(app)
            if comet.exit_code is not None or comet.fault:
                return self._comet_end(comet)
            self._guard.tick()
            self._notifier.ready()
            self._notifier.alive()
            self._wait(min(TICK, self._mind_verifier()))
        return "stopped"

    def _await_socket(self, app: Child) -> bool:
        """Whether the application listens; CometBFT would sleep 3 s after a first dial that fails."""
        deadline = monotonic() + SOCKET_PATIENCE
        while not self._stopping and app.exit_code is None and monotonic() < deadline:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
                probe.connect(str(self._config.socket))
                return True
            self._wait(0.05)
        return False

    def _application_end(self, app: Child) -> str | None:
        code = app.exit_code
        if code == CANNOT_START:
            raise HopelessStart("the application cannot start; its message stands above")
        if code == NEEDED_EXIT:
            self._upgrade()
            return None
        return app.describe_end() if code is not None else f"the application did not listen within {SOCKET_PATIENCE:.0f} s"

    def _upgrade(self) -> None:
        """Go on with the release of the upgrade that the chain has reached."""
        plan = upgrades.announced(self._config)
        try:
            registry = upgrades.load(self._config).switch(plan)
            self._python = upgrades.python(registry)
        except ConfigError as error:
            raise UpgradeMissing(str(error)) from error
        upgrades.save(self._config, registry)
        self._end_verifier()
        logger.info("upgrade %s at height %d: the application goes on with %s", plan.name, plan.height, self._python)

    def _comet_end(self, comet: CometBFT) -> str:
        advice = comet.hopeless()
        if advice is not None:
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
        command = [self._python, "-m", "abci_app.verifier", *self._arguments]
        self._verifier = Child("the verifier", command, nice=VERIFIER_NICE)
        return 60.0

    def _wait(self, seconds: float) -> None:
        """Until a signal, a child's end, or `seconds`; passes CometBFT's lines on meanwhile."""
        watched: list[int] = [self._wake_in]
        comet = self._comet
        if comet is not None and comet.descriptor is not None:
            watched.append(comet.descriptor)
        readable, _, _ = select.select(watched, [], [], max(0.0, seconds))
        if self._wake_in in readable:
            os.read(self._wake_in, 4096)
        if comet is not None and len(readable) > (self._wake_in in readable):
            comet.read()

    def _end_pair(self) -> None:
        """Both ended, CometBFT first. Gently only when we were told to stop: otherwise one of them may never answer."""
        patience = STOP_PATIENCE if self._stopping else 0.0
        for child in (self._comet, self._app):
            if child is not None:
                child.end(patience)
        if self._comet is not None:
            self._comet.read()
        self._app = self._comet = None

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
        self._notifier.stopping()


def is_ready(metrics: Address) -> bool:
    """Whether the application's `GET /status` says ready. Plain sockets: an HTTP library would double this process."""
    with suppress(OSError, ValueError), socket.create_connection((metrics.host, metrics.port), timeout=1.0) as link:
        link.sendall(b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n")
        raw = b""
        while part := link.recv(65536):
            raw += part
        return bool(json.loads(raw.partition(b"\r\n\r\n")[2]).get("ready"))
    return False
