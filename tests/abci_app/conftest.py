"""A chain for tests: homes of real validators in a temporary folder, their processes, and a small RPC client.

The CometBFT binary is found as the product finds it; without one, the tests that need it are skipped with the reason.
"""

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from abci_app.config import (
    COMET_VERSION,
    CometSettings,
    GenesisGroup,
    GenesisValidator,
    comet_node_id,
    render_comet_config,
    render_genesis,
    render_node_key,
    render_validator_key,
    render_validator_state,
)
from network.config import Address
from network.crypto import SigningKey, sha256

CHAIN_ID = "ledger-test"
GROUP = GenesisGroup("tiny", sha256(b"tiny"), "llamacpp-mt19937-v1")
# Admission has tests of its own: elsewhere nobody solves puzzles or runs out of tokens.
OPEN_DOORS = {"registration_work": 0, "tx_quota": 10**9, "registrations_per_block": 10_000}
REPOSITORY = Path(__file__).resolve().parents[2]
PORT = re.compile(r"127\.0\.0\.1:(\d+)")
Peers = tuple[str, ...]


def seed(*words: str) -> SigningKey:
    return SigningKey(sha256("/".join(words).encode()))


def free_ports(count: int, avoid: Collection[int] = ()) -> list[int]:
    """Ports of 20000 and up that nobody listens on: below the ephemeral range."""
    found: list[int] = []
    at = 20000 + os.getpid() * 53 % 11000
    while len(found) < count:
        at += 1
        if at in avoid:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", at))
            found.append(at)
    return found


@dataclass
class Validator:
    """One validator's folder, and its supervisor while it runs."""

    name: str
    home: Path
    rpc_port: int
    metrics_port: int
    key: SigningKey
    verifier_key: SigningKey
    process: subprocess.Popen[bytes] | None = None
    rpc: str = field(init=False)
    # What a test changes about how the processes run: their environment, and words before the command.
    env: dict[str, str] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)
    # How a test reaches a validator whose loopback is not its own.
    connect: Callable[[int], socket.socket] | None = None

    def __post_init__(self) -> None:
        self.rpc = f"http://127.0.0.1:{self.rpc_port}"

    def start(self) -> None:
        assert self.process is None
        log = (self.home / "log").open("ab")
        command = [*self.before, sys.executable, "-m", "abci_app", "--config", str(self.home / "config.toml")]
        environment = {**os.environ, **self.env}
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True, env=environment
        )
        log.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait()
        self.process = None
        return code

    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def children(self) -> dict[str, int]:
        """The pids below the supervisor by what they are."""
        assert self.process is not None
        found: dict[str, int] = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            found["app" if b"abci_app.app" in words else "verifier" if b"verifier" in words else "comet"] = int(pid)
        return found

    def call(self, method: str, **params: Any) -> Any:
        """One JSON-RPC call of CometBFT."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        answer = json.loads(self._post(body))
        if "error" in answer:
            raise RuntimeError(str(answer["error"]))
        return answer["result"]

    def _post(self, body: bytes) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.rpc_port, timeout=10)
        try:
            if self.connect is not None:
                connection.sock = self.connect(self.rpc_port)
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            return connection.getresponse().read()
        except http.client.HTTPException as error:
            raise OSError(f"the node broke off its answer: {error!r}") from error
        finally:
            connection.close()

    def height(self) -> int:
        try:
            return int(self.call("status")["sync_info"]["latest_block_height"])
        except (OSError, RuntimeError, ValueError):
            return 0

    def wait_height(self, height: int) -> None:
        wait_until(lambda: self.height() >= height, lambda: f"{self.name} at {self.height()}\n{self.log()[-3000:]}")

    def status(self) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/status", timeout=5) as response:
            return json.load(response)

    def metrics(self) -> str:
        """The application's Prometheus metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as response:
            return str(response.read().decode())

    def send(self, raw: bytes) -> Any:
        """broadcast_tx_sync: what CheckTx says."""
        return self.call("broadcast_tx_sync", tx=base64.b64encode(raw).decode())

    def result(self, raw: bytes) -> Any:
        """The tx_result of a transaction, once a block has it."""
        name = base64.b64encode(sha256(raw)).decode()
        found: list[Any] = []

        def seen() -> bool:
            with contextlib.suppress(RuntimeError):
                found.append(self.call("tx", hash=name)["tx_result"])
            return bool(found)

        wait_until(seen, lambda: self.log()[-3000:])
        return found[-1]

    def query(self, key: bytes, *, height: int = 0, prove: bool = False) -> Any:
        answer = self.call("abci_query", path="/store/main/key", data=key.hex(), height=str(height), prove=prove)
        return answer["response"]

    def app_hash(self, height: int) -> str:
        return str(self.call("header", height=str(height))["header"]["app_hash"])


def wait_until(holds: Callable[[], bool], explain: Callable[[], str], limit: float = 120.0) -> None:
    """Poll until it holds. The limit only ends a test that would hang."""
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.1)


@dataclass
class Chain:
    """Validators of one chain."""

    validators: list[Validator]
    genesis: Path
    binary: Path
    interval_ms: int
    peers: list[str]

    def start(self) -> None:
        for validator in self.validators:
            validator.start()

    def join(self, name: str) -> Validator:
        """The folder of one more node, which follows the chain without a vote; its peers are those there were first."""
        keys = tuple(seed(word, name) for word in ("consensus", "verifier", "node"))
        addresses = [Address("127.0.0.1", port) for port in free_ports(3, avoid=self.ports())]
        self.validators.append(build_home(self, name, keys, addresses, tuple(self.peers)))
        return self.validators[-1]

    def ports(self) -> set[int]:
        """What its nodes listen on, or will."""
        return {int(port) for node in self.validators for port in PORT.findall((node.home / "config.toml").read_text())}

    def wait_height(self, height: int) -> None:
        for validator in self.validators:
            validator.wait_height(height)


def build_chain(folder: Path, binary: Path, count: int, params: dict[str, object], interval_ms: int) -> Chain:
    ports = free_ports(3 * count)
    keys = [(seed("consensus", str(i)), seed("verifier", str(i)), seed("node", str(i))) for i in range(count)]
    members = [GenesisValidator(f"validator-{i}", keys[i][0].public, keys[i][1].public) for i in range(count)]
    # To the microsecond: two chains of one genesis document would be one chain, whose keys must not sign twice.
    genesis_time = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    genesis = folder / "genesis.json"
    genesis.write_text(render_genesis(CHAIN_ID, genesis_time, members, [GROUP], {**OPEN_DOORS, **params}))
    addresses = [Address("127.0.0.1", port) for port in ports]
    peers = [f"{comet_node_id(keys[i][2].public)}@{addresses[3 * i + 1]}" for i in range(count)]
    chain = Chain([], genesis, binary, interval_ms, peers)
    for i in range(count):
        others = tuple(peer for at, peer in enumerate(peers) if at != i)
        chain.validators.append(build_home(chain, f"v{i}", keys[i], addresses[3 * i : 3 * i + 3], others))
    return chain


def build_home(chain: Chain, name: str, keys: Sequence[SigningKey], addresses: Sequence[Address], peers: Peers) -> Validator:
    """One validator's folder, or that of a node that only follows: then its consensus key is not in the genesis document."""
    home = chain.genesis.parent / name
    comet = home / "comet"
    (comet / "config").mkdir(parents=True)
    (comet / "data").mkdir()
    rpc, p2p, metrics = addresses
    moniker = name.replace("v", "validator-", 1)
    settings = CometSettings(moniker, home / "app.sock", rpc, p2p, peers, chain.interval_ms)
    (comet / "config" / "config.toml").write_text(render_comet_config(settings))
    shutil.copy(chain.genesis, comet / "config" / "genesis.json")
    (comet / "config" / "node_key.json").write_text(render_node_key(keys[2]))
    (comet / "config" / "priv_validator_key.json").write_text(render_validator_key(keys[0]))
    (comet / "data" / "priv_validator_state.json").write_text(render_validator_state())
    (home / "config.toml").write_text(
        f"""[node]
name = "{moniker}"
chain_id = "{CHAIN_ID}"
listen = "{rpc}"
metrics = "{metrics}"
rpc = ["http://{rpc}"]
genesis = "../genesis.json"
keys = "keys.json"

[comet]
binary = "{chain.binary}"
home = "comet"
rpc = "{rpc}"
p2p = "{p2p}"

[app]
socket = "app.sock"
data = "app.db"
"""
    )
    return Validator(moniker, home, rpc.port, metrics.port, keys[0], keys[1])


@pytest.fixture(scope="session")
def comet_binary() -> Path:
    """CometBFT of the pinned release or the one that COMETBFT_VERSION names, or a skip that says how to get it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    on_path = shutil.which("cometbft")
    wanted = os.environ.get("COMETBFT_VERSION") or COMET_VERSION
    candidates = [
        os.environ.get("PLANETSERVE_COMETBFT"),
        cache / "planetserve" / "bin" / f"cometbft-v{wanted}",
        on_path if wanted == COMET_VERSION else None,
    ]
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            return Path(candidate).resolve()
    pytest.skip(f"no CometBFT v{wanted}: run `make setup`, or set PLANETSERVE_COMETBFT")


@pytest.fixture
def free() -> Callable[[int], list[int]]:
    """Finds ports that nobody listens on."""
    return free_ports


@pytest.fixture
def make_chain(comet_binary: Path, tmp_path: Path) -> Iterator[Callable[..., Chain]]:
    """Builds chains of real validators, and ends their processes after the test."""
    built: list[Chain] = []

    def make(count: int = 1, *, params: dict[str, object] | None = None, interval_ms: int = 100) -> Chain:
        folder = tmp_path / f"c{len(built)}"
        folder.mkdir()
        built.append(build_chain(folder, comet_binary, count, params or {}, interval_ms))
        return built[-1]

    yield make
    for chain in built:
        for validator in chain.validators:
            if validator.process is not None:
                validator.process.kill()
                validator.process.wait()


@pytest.fixture(scope="module")
def module_chain(
    comet_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[dict[str, object]], tuple[Chain, int]]]:
    """One real validator, started, that a whole file of tests reads from; and a free port beside its own."""
    built: list[Chain] = []

    def make(params: dict[str, object]) -> tuple[Chain, int]:
        built.append(build_chain(tmp_path_factory.mktemp("chain"), comet_binary, 1, params, 100))
        built[-1].start()
        built[-1].wait_height(3)
        return built[-1], free_ports(1)[0]

    yield make
    for chain in built:
        for validator in chain.validators:
            if validator.process is not None:
                validator.process.kill()
                validator.process.wait()


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    """The poll itself, for tests that wait for something else than a height."""
    return wait_until
