"""Four validators in a temporary folder, ours or CometBFT's own kvstore, with the same CometBFT settings.

Processes die with the bench whatever ends it, are ended by their pid, and the folder goes with them.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from abci_app.config import (
    CometSettings,
    GenesisValidator,
    comet_node_id,
    render_comet_config,
    render_genesis,
    render_node_key,
    render_validator_key,
    render_validator_state,
)
from evals.ledger.figures import CHAIN_ID, OPEN_DOORS
from localnet.toml_text import dump
from network.config import Address
from network.crypto import SigningKey, sha256

VALIDATORS = 4
BLOCK_INTERVAL_MS = 200
PORTS_EACH = 3
PATIENCE_S = 90.0
REPOSITORY = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1
_TICKS = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None)


class BenchError(Exception):
    """The bench cannot go on; the sentence says why."""


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Validator:
    """One validator: its command, its log, and its process while it runs."""

    def __init__(self, name: str, home: Path, command: list[str], env: dict[str, str], ports: list[int]) -> None:
        self.name = name
        self.rpc = f"http://127.0.0.1:{ports[0]}"
        self._log = home / "log"
        self._command, self._env, self._ports = command, env, ports
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C reaches the bench alone, which then ends it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=REPOSITORY,
                env={**os.environ, **self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def end(self, number: int) -> None:
        """End it by its pid, and wait until nothing of it holds a port."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        deadline = time.monotonic() + 15
        while not all(is_free(port) for port in self._ports) and time.monotonic() < deadline:
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def height(self) -> int:
        """Its latest block's height; 0 while it does not answer or is catching up."""
        with suppress(OSError, ValueError), urllib.request.urlopen(f"{self.rpc}/status", timeout=5) as answer:
            found = json.load(answer)["result"]["sync_info"]
            return 0 if found["catching_up"] else int(found["latest_block_height"])
        return 0

    def wait_height(self, height: int) -> None:
        """Until it is there. Raises BenchError with the log's end."""
        deadline = time.monotonic() + PATIENCE_S
        while self.height() < height:
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise BenchError(f"{self.name} did not reach height {height}\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time used so far by its processes: `comet`, `app` and `other`."""
        used: dict[str, float] = {}
        queue = [self._process.pid] if self._process is not None else []
        while queue:
            pid = queue.pop()
            with suppress(FileNotFoundError, ProcessLookupError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                queue += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
                kind = "app" if b"abci_app.app" in words else "comet" if b"--home=" in words else "other"
                used[kind] = used.get(kind, 0.0) + (int(fields[11]) + int(fields[12])) / _TICKS
        return used


class Chain:
    """A running chain as a context: started when entered, gone when left. `ours` is our application, else the kvstore."""

    def __init__(self, binary: Path, ours: bool, first_port: int) -> None:
        self.name = "PlanetServe's ledger" if ours else "CometBFT's kvstore"
        self._folder = tempfile.TemporaryDirectory(prefix="ps-bench-")
        self.validators = _write(Path(self._folder.name), binary, ours, free_ports(VALIDATORS * PORTS_EACH, first_port))
        self.genesis = Path(self._folder.name) / "genesis.json"

    def __enter__(self) -> "Chain":
        try:
            for validator in self.validators:
                validator.start()
            for validator in self.validators:
                validator.wait_height(2)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._end()

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time used so far by all validators, by kind of process."""
        total: dict[str, float] = {}
        for validator in self.validators:
            for kind, seconds in validator.cpu_seconds().items():
                total[kind] = total.get(kind, 0.0) + seconds
        return total

    def restart(self) -> float:
        """Kill the last validator with everything it runs, start it, and count the seconds until it is level again."""
        first, last = self.validators[0], self.validators[-1]
        last.end(signal.SIGKILL)
        began = time.monotonic()
        last.start()
        last.wait_height(1)
        last.wait_height(first.height())
        return time.monotonic() - began

    def _end(self) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave the folder behind
        try:
            for validator in self.validators:
                validator.signal(signal.SIGTERM)
            for validator in self.validators:
                validator.end(signal.SIGTERM)
            self._folder.cleanup()
        finally:
            signal.signal(signal.SIGINT, before)


def is_free(port: int) -> bool:
    """Whether nobody listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def free_ports(count: int, first: int) -> list[int]:
    """The lowest ports from `first` on that nobody listens on, below the range of outgoing connections."""
    found = [port for port in range(first, min(first + 1000, 32768)) if is_free(port)][:count]
    if len(found) < count:
        raise BenchError(f"fewer than {count} free ports from {first} on; name others: --port-base N")
    return found


def _write(folder: Path, binary: Path, ours: bool, ports: list[int]) -> list[Validator]:
    keys = [
        [SigningKey(sha256(word, bytes([at]))) for word in (b"consensus", b"verifier", b"node")] for at in range(VALIDATORS)
    ]
    members = [GenesisValidator(f"validator-{at}", keys[at][0].public, keys[at][1].public) for at in range(VALIDATORS)]
    genesis = render_genesis(CHAIN_ID, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), members, [], OPEN_DOORS)
    (folder / "genesis.json").write_text(genesis)
    addresses = [[Address("127.0.0.1", port) for port in ports[3 * at : 3 * at + 3]] for at in range(VALIDATORS)]
    peers = [f"{comet_node_id(keys[at][2].public)}@{addresses[at][1]}" for at in range(VALIDATORS)]
    validators = []
    for at, (rpc, p2p, metrics) in enumerate(addresses):
        home = folder / f"validator-{at}"
        comet = home / "comet"
        (comet / "config").mkdir(parents=True)
        (comet / "data").mkdir()
        others = tuple(peer for number, peer in enumerate(peers) if number != at)
        settings = CometSettings(f"validator-{at}", home / "app.sock", rpc, p2p, others, BLOCK_INTERVAL_MS)
        (comet / "config" / "config.toml").write_text(render_comet_config(settings))
        (comet / "config" / "genesis.json").write_text(genesis)
        (comet / "config" / "node_key.json").write_text(render_node_key(keys[at][2]))
        (comet / "config" / "priv_validator_key.json").write_text(render_validator_key(keys[at][0]))
        (comet / "data" / "priv_validator_state.json").write_text(render_validator_state())
        (home / "config.toml").write_text(_config(at, binary, rpc, p2p, metrics))
        command = [sys.executable, "-m", "abci_app", "--config", str(home / "config.toml")]
        env: dict[str, str] = {}
        if not ours:  # as our supervisor starts CometBFT
            command = [str(binary), "start", f"--home={comet}", "--proxy_app=kvstore"]
            env = {"GOMAXPROCS": "1", "GOGC": "50"}
        validators.append(Validator(f"validator-{at}", home, command, env, ports[3 * at : 3 * at + 3]))
    return validators


def _config(at: int, binary: Path, rpc: Address, p2p: Address, metrics: Address) -> str:
    node = {
        "name": f"validator-{at}",
        "chain_id": CHAIN_ID,
        "listen": str(rpc),
        "metrics": str(metrics),
        "rpc": [f"http://{rpc}"],
        "genesis": "../genesis.json",
        "keys": "keys.json",
    }
    comet = {"binary": str(binary), "home": "comet", "rpc": str(rpc), "p2p": str(p2p)}
    return dump({"node": node, "comet": comet, "app": {"socket": "app.sock", "data": "app.db"}})
