"""One real network for all end-to-end tests: started as a user starts it, asked through its public ports only."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
PLANETSERVE = str(Path(sys.executable).parent / "planetserve")
HERE = Path(__file__).parent
# Everything is on this machine: no client may take a way through a proxy.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder drives a network; what needs none of its own runs before the shared one is started."""
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.e2e)
    ours.sort(key=lambda item: "localnet" in getattr(item, "fixturenames", ()))
    places = [index for index, item in enumerate(items) if HERE in item.path.parents]
    for index, item in zip(places, ours, strict=True):
        items[index] = item


@dataclass
class Localnet:
    """A running network as its user sees it."""

    home: Path
    port_base: int
    output: str
    started: float = field(default_factory=time.monotonic)

    def run(self, *words: str, check: bool = True, timeout: float = 240.0) -> subprocess.CompletedProcess[str]:
        """Run `planetserve WORDS` against this network."""
        return subprocess.run(
            [PLANETSERVE, *words], cwd=ROOT, env=self.environ(), capture_output=True, text=True, check=check, timeout=timeout
        )

    def environ(self) -> dict[str, str]:
        """The environment in which commands mean this network."""
        return {**os.environ, "PLANETSERVE_HOME": str(self.home)}

    def localnet(self, *words: str, check: bool = True) -> str:
        """Run `planetserve localnet WORDS`; its output."""
        return self.run("localnet", *words, "--home", str(self.home), check=check).stdout

    def status(self) -> dict[str, Any]:
        """The document of `localnet status`."""
        document: dict[str, Any] = json.loads(self.localnet("status", "--output", "json"))
        return document

    def node(self, name: str) -> dict[str, Any]:
        """One node's row of the status."""
        return next(row for row in self.status()["nodes"] if row["name"] == name)

    def query(self, *words: str) -> Any:
        """`planetserve query WORDS --output json`."""
        return json.loads(self.run("query", *words, "--output", "json").stdout)

    @property
    def base_url(self) -> str:
        """What a client of OpenAI's API is given."""
        return f"http://127.0.0.1:{self.port_base}/v1"

    def until(self, done: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
        """Poll until `done` answers something true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = done()
            if found:
                return found
            time.sleep(0.5)
        pytest.fail(f"waited {seconds:.0f} s in vain until {what}; status: {json.dumps(self.status())[:2000]}")


def free_base(beginning: int = 12_000) -> int:
    """A port base whose whole range nobody listens on."""
    for base in range(beginning, 31_000, 1_400):
        if all(_free(base + offset) for offset in (0, *range(100, 116), *range(200, 260), *range(400, 445))):
            return base
    raise AssertionError("no free range of ports on this machine")


def _free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return tried.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture(scope="session")
def localnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Localnet]:
    """The network of this test run. It ends with the run, whatever the tests did to it."""
    home, base = tmp_path_factory.mktemp("net") / "home", free_base()
    up = [PLANETSERVE, "localnet", "up", "--home", str(home), "--port-base", str(base)]
    began = time.monotonic()
    done = subprocess.run(up, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    try:
        assert done.returncode == 0, f"the network did not start:\n{done.stdout}\n{done.stderr}"
        yield Localnet(home, base, done.stdout, began)
    finally:
        keep = os.environ.get("PLANETSERVE_KEEP_LOGS")
        if keep:
            for log in home.glob("*/log"):
                target = Path(keep) / f"{log.parent.name}.log"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(log, target)
        subprocess.run([PLANETSERVE, "localnet", "down", "--wipe", "--home", str(home)], cwd=ROOT, check=False, timeout=120)


@pytest.fixture
def free_ports() -> Callable[[], int]:
    """Finds a port base for a second network."""
    return lambda: free_base(20_000)


@pytest.fixture
def family_of() -> Callable[[int], dict[int, str]]:
    """The processes below one: pid to command line, from /proc."""
    return _descendants


def _descendants(pid: int) -> dict[int, str]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, frontier = dict[int, str](), {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        for child in frontier:
            try:
                found[child] = (Path("/proc") / str(child) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
    return found


@pytest.fixture
def kill_nine() -> Callable[[int], None]:
    """SIGKILL."""
    return lambda pid: os.kill(pid, signal.SIGKILL)


@pytest.fixture
def fetch() -> Callable[[str], str]:
    """The body of a URL."""

    def get(url: str) -> str:
        with urllib.request.urlopen(url, timeout=10) as response:
            body: bytes = response.read()
            return body.decode()

    return get
