"""A private Tor network of Debian's `tor` on loopback: three directory authorities, relays that are all exits, one client.

Nothing leaves the machine: the only authorities are these, and every address is 127.0.0.1. The settings are those of Tor's
own test networks (`TestingTorNetwork`, tor(1)); only then does a consensus of a few relays come within a minute.
"""

import asyncio
import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

AUTHORITIES = 3
BOOTSTRAP_SECONDS = 240.0
_COMMON = """
TestingTorNetwork 1
DataDirectory {home}
Log notice file {home}/log
SocksPort {socks}
ShutdownWaitLength 0
PathsNeededToBuildCircuits 0.67
"""
_RELAY = """
Nickname {name}
Address 127.0.0.1
ORPort 127.0.0.1:{port} IPv4Only
AssumeReachable 1
ContactInfo none
ExitRelay 1
ExitPolicyRejectPrivate 0
ExitPolicy accept 127.0.0.0/8:*
"""
_AUTHORITY = """
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
DirPort 127.0.0.1:{directory}
TestingV3AuthInitialVotingInterval 20
TestingV3AuthInitialVoteDelay 4
TestingV3AuthInitialDistDelay 4
V3AuthVotingInterval 20
V3AuthVoteDelay 4
V3AuthDistDelay 4
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
"""


class TorFailed(Exception):
    """The private Tor network could not be started; the message quotes its log."""


@dataclass(frozen=True)
class Tor:
    """A network that runs: where its client takes SOCKS connections, which release it is, its relays' process ids."""

    socks: int
    release: str
    relays: list[int]


def installed() -> bool:
    """Whether `tor` and `tor-gencert` are on PATH (Debian: the package `tor`)."""
    return shutil.which("tor") is not None and shutil.which("tor-gencert") is not None


@asynccontextmanager
async def tor_network(folder: Path, relays: int) -> AsyncIterator[Tor]:
    """A network of `relays` relays, the authorities among them, whose client has built circuits. Raises TorFailed."""
    names = [f"node{number}" for number in range(relays)]
    ports = free_ports(2 * relays + 1)
    written = {name: _relay_files(folder / name, name, *ports[2 * at : 2 * at + 2], at) for at, name in enumerate(names)}
    lines = "".join(
        _authority_line(folder / name, name, *ports[2 * at : 2 * at + 2]) for at, name in enumerate(names[:AUTHORITIES])
    )
    client = folder / "client"
    client.mkdir(mode=0o700)
    written["client"] = _COMMON.format(home=client, socks=ports[-1])
    processes = []
    try:
        for name, text in written.items():
            settings = folder / name / "torrc"
            settings.write_text(text + lines)
            words = ("tor", "-f", str(settings), "--quiet")
            processes.append(await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.DEVNULL))
        await _bootstrapped(client / "log")
        yield Tor(ports[-1], _release(), [process.pid for process in processes[:relays]])
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _relay_files(home: Path, name: str, port: int, directory: int, at: int) -> str:
    """Make a relay's folder; its settings but for the list of authorities."""
    home.mkdir(mode=0o700)
    text = _COMMON.format(home=home, socks=0) + _RELAY.format(name=name, port=port)
    if at >= AUTHORITIES:
        return text
    keys = home / "keys"
    keys.mkdir(mode=0o700)
    words = ["tor-gencert", "--create-identity-key", "-m", "1", "-a", f"127.0.0.1:{directory}", "--passphrase-fd", "0"]
    subprocess.run(words, cwd=keys, input=b"loopback\n", check=True, capture_output=True)
    return text + _AUTHORITY.format(directory=directory)


def _authority_line(home: Path, name: str, port: int, directory: int) -> str:
    certificate = (home / "keys" / "authority_certificate").read_text()
    identity = re.search(r"^fingerprint ([0-9A-F]{40})$", certificate, re.MULTILINE)
    other = f"{name} orport={port} no-v2 127.0.0.1:{directory} {'F' * 40}"  # tor wants some authority before it makes keys
    words = ["tor", "--list-fingerprint", "--ignore-missing-torrc", "-f", str(home / "none"), "--quiet"]
    words += ["--DataDirectory", str(home), "--ORPort", "1", "--Nickname", name, "--DirAuthority", other]
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert identity is not None
    own = "".join(printed.split()[1:])
    return f"DirAuthority {name} orport={port} no-v2 v3ident={identity.group(1)} 127.0.0.1:{directory} {own}\n"


async def _bootstrapped(log: Path) -> None:
    until = time.monotonic() + BOOTSTRAP_SECONDS
    while time.monotonic() < until:
        if log.exists() and "Bootstrapped 100%" in log.read_text():
            return
        await asyncio.sleep(0.5)
    last = log.read_text().splitlines()[-5:] if log.exists() else ["it has no log"]
    raise TorFailed(f"Tor's client has no circuit after {BOOTSTRAP_SECONDS:.0f} s: {' | '.join(last)}")


def _release() -> str:
    return subprocess.run(["tor", "--version"], check=True, capture_output=True, text=True).stdout.split("\n")[0].rstrip(".")
