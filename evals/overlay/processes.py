"""An overlay of real processes on loopback, without a chain: relays and model nodes that route by a directory we write."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import encode
from network.directory import Directory, empty
from network.ids import Role, node_id

PATIENCE = 60.0


@dataclass
class Member:
    """One process and how the directory lists it."""

    process: asyncio.subprocess.Process
    entry: DirectoryEntry
    command: list[str]

    async def status(self) -> dict[str, Any]:
        """What the process says about itself."""
        return await self.ask("status")

    async def ask(self, line: str) -> dict[str, Any]:
        """The answer to a line that has one."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{line}\n".encode())
        async with asyncio.timeout(PATIENCE):
            found: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return found

    async def kill(self) -> None:
        """End the process at once; the directory still lists it."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


class ProcessOverlay:
    """Relays and model nodes as processes; `directory()` is what a user node routes by."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._height = 0
        self._listed = empty("bench")
        self.relays: list[Member] = []
        self.models: list[Member] = []

    def directory(self) -> Directory:
        """The newest directory that was written."""
        return self._listed

    async def add(self, role: Role, name: str, *, where: Sequence[str] = (), addresses: Sequence[str] = ()) -> Member:
        """Start one node, behind the command `where` and at these addresses. It is listed from the next `publish` on."""
        word = "relay" if role is Role.RELAY else "model"
        command = [*where, sys.executable, "-m", "evals.overlay.node_process", word, name]
        process, said = await start([*command, *addresses])
        signing, onion = bytes.fromhex(said["signing_key"]), bytes.fromhex(said["onion_key"])
        entry = DirectoryEntry(node_id(signing), signing, onion, role, name, said["address"], name, trusted=True)
        member = Member(process, entry, [*command, *(addresses or [said["address"]])])
        (self.relays if role is Role.RELAY else self.models).append(member)
        return member

    async def restart(self, member: Member) -> None:
        """Start a killed node again where it was, and tell it the directory."""
        member.process, _ = await start(member.command)
        self.tell(member)

    async def publish(self) -> None:
        """Write the directory of everybody who was added and not removed, and tell the processes."""
        self._height += 1
        members = [*self.relays, *self.models]
        entries = tuple(sorted((member.entry for member in members), key=lambda entry: entry.node_id))
        record = DirectoryRecord("bench", 1, self._height, b"", entries)
        self.file.write_bytes(encode(record))
        self._listed = Directory(record, self._height)
        for member in members:
            self.tell(member)

    @property
    def file(self) -> Path:
        """Where the newest directory is written."""
        return self._folder / f"directory-{self._height}"

    def tell(self, member: Member) -> None:
        """Let a process read the newest directory."""
        if member.process.returncode is None:
            assert member.process.stdin is not None
            member.process.stdin.write(f"directory {self.file}\n".encode())

    async def close(self) -> None:
        """End every process."""
        for member in (*self.relays, *self.models):
            await member.kill()


async def start(command: Sequence[str]) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """A process, and the first line that it says."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        said = json.loads(await process.stdout.readline())
    return process, said


@asynccontextmanager
async def overlay_of(relays: int, models: Sequence[str] = ("model",)) -> AsyncIterator[ProcessOverlay]:
    """That many relays of as many families, and the model nodes, up and listed; all ends with the context."""
    with tempfile.TemporaryDirectory() as folder:
        overlay = ProcessOverlay(Path(folder))
        try:
            for number in range(relays):
                await overlay.add(Role.RELAY, f"relay-{number}")
            for name in models:
                await overlay.add(Role.MODEL, name)
            await overlay.publish()
            yield overlay
        finally:
            await overlay.close()
