"""Behind NAT, in three network namespaces: a user works, a relay is refused, and a forwarded port makes it one.

Twelve relays and a model node run as processes in the outer network, which has no way into the inner one.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.overlay.processes import Member, ProcessOverlay, start
from network.ids import Role
from network.reachability import Reachability

pytestmark = pytest.mark.slow

OUTER, ROUTER, INNER_GATE, INNER = "10.77.1.1", "10.77.1.2", "192.168.77.1", "192.168.77.2"
PORT = 23000
RULES = """
table ip home {
  chain out { type nat hook postrouting priority 100; oifname "wan" masquerade; }
  chain in { type nat hook prerouting priority -100; %s }
  chain through {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept;
    iifname "lan" accept;
    ct status dnat accept;
  }
}
"""


def run(*words: str, text: str | None = None) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True, input=text)


class Home:
    """`outer` is the world, `inner` a machine at home, `router` translates between them and lets nobody in."""

    def __init__(self) -> None:
        self.outer, self.router, self.inner = (f"psc{os.getpid()}{letter}" for letter in "ori")

    def build(self) -> None:
        for name in (self.outer, self.router, self.inner):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        self._cable(self.router, "wan", f"{ROUTER}/24", self.outer, f"{OUTER}/24")
        self._cable(self.router, "lan", f"{INNER_GATE}/24", self.inner, f"{INNER}/24")
        run("ip", "-n", self.inner, "route", "add", "default", "via", INNER_GATE)
        run(*self.within(self.router), "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.translate("")

    def translate(self, forwarded: str) -> None:
        """The router's rules; `forwarded` lets somebody in."""
        with suppress(subprocess.CalledProcessError):
            run(*self.within(self.router), "nft", "delete", "table", "ip", "home")
        # nft takes one statement a line.
        lines = (RULES % forwarded).replace("; ", ";\n").replace("{ ", "{\n").replace(" }", "\n}")
        run(*self.within(self.router), "nft", "-f", "-", text=lines)

    def within(self, name: str) -> list[str]:
        return ["ip", "netns", "exec", name]

    def delete(self) -> None:
        for name in (self.outer, self.router, self.inner):
            with suppress(subprocess.CalledProcessError):
                run("ip", "netns", "delete", name)

    def _cable(self, near: str, name: str, near_address: str, far: str, far_address: str) -> None:
        run("ip", "link", "add", name, "netns", near, "type", "veth", "peer", "name", "cable", "netns", far)
        for where, link, address in ((near, name, near_address), (far, "cable", far_address)):
            run("ip", "-n", where, "addr", "add", address, "dev", link)
            run("ip", "-n", where, "link", "set", link, "up")


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "sysctl"))):
        pytest.skip("a network behind NAT needs root and the commands ip, nft and sysctl")
    made = Home()
    try:
        made.build()
    except subprocess.CalledProcessError as error:
        made.delete()
        pytest.skip(f"a network behind NAT cannot be made here: {error.stderr.strip()}")
    yield made
    made.delete()


@pytest.fixture
async def overlay(home: Home, tmp_path: Path) -> AsyncIterator[ProcessOverlay]:
    found = ProcessOverlay(tmp_path)
    try:
        for number in range(12):
            address = f"{OUTER}:{PORT + number}"
            await found.add(Role.RELAY, f"relay-{number}", where=home.within(home.outer), addresses=[address])
        await found.add(Role.MODEL, "model", where=home.within(home.outer), addresses=[f"{OUTER}:{PORT + 50}"])
        await found.publish()
        yield found
    finally:
        await found.close()


async def reachable(member: Member) -> Reachability:
    said: dict[str, Any] = await member.ask("reachable")
    return Reachability(**{**said, "called": tuple(said["called"])})


async def test_a_user_works_and_a_relay_needs_a_forwarded_port(home: Home, overlay: ProcessOverlay) -> None:
    command = [*home.within(home.inner), sys.executable, "-m", "evals.overlay.user_process", str(overlay.file)]
    process, _ = await start(command)
    user = Member(process, replace(overlay.models[0].entry), command)
    try:
        answered = await user.ask("count 20 50")
        assert answered["error"] == "" and answered["frames"] == 20, answered
        async with asyncio.timeout(60):
            while (await user.ask("status"))["gossip"]["heard"] < 13:
                await asyncio.sleep(0.5)
    finally:
        await user.kill()
    addresses = [f"0.0.0.0:{PORT + 99}", f"{ROUTER}:{PORT + 99}"]
    newcomer = await overlay.add(Role.RELAY, "newcomer", where=home.within(home.inner), addresses=addresses)
    relays = overlay.relays.copy()
    overlay.relays.remove(newcomer)
    await overlay.publish()  # as the chain would: not listed yet
    overlay.relays = relays
    overlay.tell(newcomer)
    refused = await reachable(newcomer)
    assert (refused.reached, refused.is_enough) == (0, False) and refused.answered >= 2
    assert f"they called {ROUTER}:{PORT + 99}" in refused.explanation
    home.translate(f'iifname "wan" tcp dport {PORT + 99} dnat to {INNER}:{PORT + 99};')
    accepted = await reachable(newcomer)
    assert accepted.is_enough and accepted.reached == 2, accepted
