"""Networks whose links can be cut: a network namespace for each validator, or a proxy on each link where that is not allowed.

In namespaces every pair of validators has a virtual cable of its own. Validators listen on loopback only, so their addresses
are of 127/8 and the kernel is told to route those between the namespaces; nothing outside them is touched.
"""

import ctypes
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

Pair = tuple[int, int]
CLONE_NEWNET = 0x40000000
PEER = re.compile(r"([0-9a-f]{40})@127\.0\.0\.1:(\d+)")
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def p2p_port(validator: Any) -> int:
    (port,) = re.findall(r'^p2p = "127\.0\.0\.1:(\d+)"$', (validator.home / "config.toml").read_text(), re.MULTILINE)
    return int(port)


def rewrite(path: Path, pattern: "re.Pattern[str]", new: Callable[["re.Match[str]"], str]) -> None:
    text = path.read_text()
    assert pattern.search(text), path
    path.write_text(pattern.sub(new, text))


class Namespaces:
    """Each validator in a network namespace of its own, a cable between each two."""

    kind = "namespaces"

    def __init__(self, validators: list[Any]) -> None:
        self._names = [f"ps{os.getpid()}x{at}" for at in range(len(validators))]
        self.pairs: list[Pair] = list(combinations(range(len(validators)), 2))
        ports = {p2p_port(validator): at for at, validator in enumerate(validators)}
        for at, name in enumerate(self._names):
            self._create(name, self._address(at))
        for a, b in self.pairs:
            self._connect(a, b)
        for at, validator in enumerate(validators):
            validator.before = ["ip", "netns", "exec", self._names[at]]
            validator.connect = lambda port, name=self._names[at]: inside(name, port)
            own = re.compile(r'^p2p = "127\.0\.0\.1', re.MULTILINE)
            rewrite(validator.home / "config.toml", own, lambda _, at=at: f'p2p = "{self._address(at)}')
            peers = validator.home / "comet" / "config" / "config.toml"
            rewrite(peers, PEER, lambda m: f"{m[1]}@{self._address(ports[int(m[2])])}:{m[2]}")

    def cut(self, pairs: Iterable[Pair]) -> None:
        """No packet passes between these any more, and neither side is told."""
        for a, b in pairs:
            ip("-n", self._names[a], "link", "set", f"to{b}", "down")
            ip("-n", self._names[b], "link", "set", f"to{a}", "down")

    def heal(self) -> None:
        for a, b in self.pairs:
            for here, there in ((a, b), (b, a)):
                ip("-n", self._names[here], "link", "set", f"to{there}", "up")
                ip("-n", self._names[here], "route", "replace", *self._route(here, there))

    def close(self) -> None:
        for name in self._names:
            with suppress(OSError):
                ip("netns", "delete", name)

    @staticmethod
    def _address(at: int) -> str:
        return f"127.77.0.{10 + at}"

    def _create(self, name: str, address: str) -> None:
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
        for where in ("all", "default"):
            setting = f"net.ipv4.conf.{where}.route_localnet=1"
            subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", setting], check=True, capture_output=True)
        # 127/8 is no longer this namespace's alone, only 127.0.0.1 and its own address are.
        ip("-n", name, "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local")
        ip("-n", name, "addr", "add", f"{address}/32", "dev", "lo")

    def _connect(self, a: int, b: int) -> None:
        ends = ["netns", self._names[a], "type", "veth", "peer", "name", f"to{a}", "netns", self._names[b]]
        ip("link", "add", f"to{b}", *ends)
        for here, there in ((a, b), (b, a)):
            ip("-n", self._names[here], "link", "set", f"to{there}", "up")
            ip("-n", self._names[here], "route", "add", *self._route(here, there))

    def _route(self, here: int, there: int) -> list[str]:
        return [f"{self._address(there)}/32", "dev", f"to{there}", "src", self._address(here)]


def inside(name: str, port: int) -> socket.socket:
    """A connection to a port of another namespace's loopback: this thread goes there, and comes back."""
    with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{name}").open() as there:
        if _libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {name}")
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        finally:
            assert _libc.setns(home.fileno(), CLONE_NEWNET) == 0, "lost in another network namespace"


class Proxies:
    """A proxy on each link, which stops passing bytes on when the link is cut."""

    kind = "proxies"

    def __init__(self, validators: list[Any]) -> None:
        self.pairs: list[Pair] = list(combinations(range(len(validators)), 2))
        self._cut: set[Pair] = set()
        self._open: list[socket.socket] = []
        ports = {p2p_port(validator): at for at, validator in enumerate(validators)}
        for at, validator in enumerate(validators):
            peers = validator.home / "comet" / "config" / "config.toml"
            rewrite(peers, PEER, lambda m, at=at: f"{m[1]}@127.0.0.1:{self._listen(at, ports[int(m[2])], int(m[2]))}")

    def cut(self, pairs: Iterable[Pair]) -> None:
        self._cut |= set(pairs)

    def heal(self) -> None:
        self._cut = set()

    def close(self) -> None:
        for link in self._open:
            link.close()

    def _listen(self, here: int, there: int, port: int) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        self._open.append(server)
        pair = (min(here, there), max(here, there))
        threading.Thread(target=self._accept, args=(server, pair, port), daemon=True).start()
        return int(server.getsockname()[1])

    def _accept(self, server: socket.socket, pair: Pair, port: int) -> None:
        with suppress(OSError):
            while True:
                near, _ = server.accept()
                with suppress(OSError):
                    far = socket.create_connection(("127.0.0.1", port))
                    self._open += [near, far]
                    for source, sink in ((near, far), (far, near)):
                        threading.Thread(target=self._pump, args=(source, sink, pair), daemon=True).start()
                    continue
                near.close()

    def _pump(self, source: socket.socket, sink: socket.socket, pair: Pair) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                while pair in self._cut:
                    time.sleep(0.05)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def namespaces_work() -> bool:
    """Whether this user may make network namespaces here."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("sysctl") is None:
        return False
    name = f"ps{os.getpid()}probe"
    try:
        ip("netns", "add", name)
        ip("netns", "delete", name)
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def best_network() -> type[Namespaces] | type[Proxies]:
    """Namespaces where they are allowed, else proxies."""
    return Namespaces if namespaces_work() else Proxies


@pytest.fixture
def networked(make_chain: Callable[..., Any], best_network: Any) -> Iterator[Callable[..., tuple[Any, Any]]]:
    """Builds a chain whose links can be cut: (chain, network). Not started yet."""
    made: list[tuple[Any, Any]] = []

    def make(count: int, *, kind: str = "", **options: Any) -> tuple[Any, Any]:
        chain = make_chain(count, **options)
        choice = {"namespaces": Namespaces, "proxies": Proxies, "": best_network}[kind]
        if choice is Namespaces and best_network is not Namespaces:
            pytest.skip("network namespaces need root and iproute2")
        made.append((chain, choice(chain.validators)))
        return made[-1]

    yield make
    for chain, network in made:
        for validator in chain.validators:
            if validator.process is not None:
                validator.process.kill()
                validator.process.wait()
                validator.process = None
        network.close()
