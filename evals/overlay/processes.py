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
from network.crypto import sha256
from network.directory import Directory, empty
from network.ids import Role

PATIENCE = 60.0


@dataclass
class Member:
    """One process and how the directory lists it."""

    process: asyncio.subprocess.Process
    entry: DirectoryEntry

    async def status(self) -> dict[str, Any]:
        """What the process says about itself."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(b"status\n")
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

    async def add(self, role: Role, name: str) -> Member:
        """Start one node. It is listed from the next `publish` on."""
        word = "relay" if role is Role.RELAY else "model"
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "evals.overlay.node_process", word, name, stdin=pipe, stdout=pipe
        )
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            said = json.loads(await process.stdout.readline())
        onion_key = bytes.fromhex(said["onion_key"])
        entry = DirectoryEntry(
            sha256(onion_key)[:20], sha256(b"signing", onion_key), onion_key, role, name, said["address"], name, trusted=True
        )
        member = Member(process, entry)
        (self.relays if role is Role.RELAY else self.models).append(member)
        return member

    async def publish(self) -> None:
        """Write the directory of everybody who was added and not removed, and tell the processes."""
        self._height += 1
        members = [*self.relays, *self.models]
        entries = tuple(sorted((member.entry for member in members), key=lambda entry: entry.node_id))
        record = DirectoryRecord("bench", 1, self._height, b"", entries)
        path = self._folder / f"directory-{self._height}"
        path.write_bytes(encode(record))
        self._listed = Directory(record, self._height)
        for member in members:
            if member.process.returncode is None:
                assert member.process.stdin is not None
                member.process.stdin.write(f"directory {path}\n".encode())
                await member.process.stdin.drain()

    async def close(self) -> None:
        """End every process."""
        for member in (*self.relays, *self.models):
            await member.kill()


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
