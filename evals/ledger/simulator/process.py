"""A real application process for the simulator: `python -m abci_app.app` over its unix socket, in any environment."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from itertools import count, islice
from pathlib import Path
from time import monotonic, sleep

from abci_app.abci.framing import Unframer, frame
from abci_app.abci.order import Kind
from evals.ledger.simulator.world import CHAIN_ID, Genesis

PATIENCE_S = 60.0
_CONFIG = """
[node]
name = "{name}"
chain_id = "{chain_id}"
listen = "127.0.0.1:{port}"
metrics = "127.0.0.1:{port}"
rpc = ["http://127.0.0.1:{port}"]
genesis = "genesis.json"
keys = "keys.json"

[comet]
binary = "cometbft"
home = "comet"
rpc = "127.0.0.1:{port}"
p2p = "127.0.0.1:{port}"

[app]
socket = "app.sock"
data = "app.db"
{settings}
"""


class AppProcess:
    """One run of the application's process. It must end by itself never, and by SIGKILL at once."""

    def __init__(self, home: Path, environment: Mapping[str, str], cores: frozenset[int] | None) -> None:
        command = [sys.executable, "-m", "abci_app.app", "--config", str(home / "config.toml")]
        log = (home / "log").open("ab")
        self._home = home
        self._process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
        log.close()
        if cores is not None:
            os.sched_setaffinity(self._process.pid, cores)
        self._unframer = {kind: Unframer() for kind in Kind}
        self._sockets = {kind: self._connect() for kind in Kind}

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def ask(self, kind: Kind, raw: bytes) -> bytes:
        """One request over its connection, and the answer."""
        channel = self._sockets[kind]
        channel.sendall(frame(raw))
        while True:
            data = channel.recv(1 << 16)
            if not data:
                raise AssertionError(f"the application ended: {(self._home / 'log').read_text()[-3000:]}")
            answers = self._unframer[kind].feed(data)
            if answers:
                return answers[0]

    def close(self) -> None:
        """kill -9."""
        for channel in self._sockets.values():
            channel.close()
        self._process.kill()
        self._process.wait()

    def _connect(self) -> socket.socket:
        deadline = monotonic() + PATIENCE_S
        while True:
            channel = socket.socket(socket.AF_UNIX)
            try:
                channel.connect(str(self._home / "app.sock"))
                return channel
            except OSError as error:
                channel.close()
                if self._process.poll() is not None or monotonic() > deadline:
                    raise AssertionError(f"no application: {(self._home / 'log').read_text()[-3000:]}") from error
                sleep(0.02)


class AppHome:
    """The folder of a real application, and the environment its processes get."""

    def __init__(
        self,
        path: Path,
        genesis: Genesis,
        environment: Mapping[str, str] | None = None,
        cores: frozenset[int] | None = None,
        settings: str = "",
    ) -> None:
        path.mkdir(parents=True)
        (path / "genesis.json").write_text(genesis.document())
        words = {"name": path.name, "chain_id": CHAIN_ID, "port": free_port(), "settings": settings}
        (path / "config.toml").write_text(_CONFIG.format(**words))
        self.path = path
        self._environment = dict(environment or {})
        self._cores = cores

    def begin(self) -> AppProcess:
        """Start the process and wait for its socket."""
        (self.path / "app.sock").unlink(missing_ok=True)
        return AppProcess(self.path, self._environment, self._cores)

    def erase(self) -> None:
        """Remove the data."""
        data = self.path / "app.db"
        for file in data.iterdir():
            file.unlink()
        data.rmdir()


_ports = count(20_000 + os.getpid() * 7 % 9_000)


def free_port() -> int:
    """A loopback port below the ephemeral range that nobody listens on; another one at every call."""
    for port in islice(_ports, 500):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("none of 500 ports is free")
