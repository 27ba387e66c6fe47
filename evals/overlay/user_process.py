"""One user as a process of its own, without a chain: `python -m evals.overlay.user_process DIRECTORY_FILE`.

It obeys lines on standard input and ends when that ends: `directory PATH`, `status`, `out` (the names of the relays that new
paths avoid now) and `count N MS` (asks the first model node for N frames, one every MS milliseconds), each answered by one
line of JSON in its turn.
"""

import asyncio
import os
import sys
import time
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evals.overlay.node_process import say
from network.aio.user_node import UserNode
from network.chain_records import DirectoryRecord
from network.codec import decode
from network.directory import Directory
from network.errors import PlanetServeError
from network.ids import Role
from network.inference import FrameKind


class UserProcess:
    """What one process holds."""

    def __init__(self, path: Path) -> None:
        self._listed = self._read(path)
        self._user = UserNode(lambda: self._listed, os.urandom)

    async def run(self) -> None:
        """Ask as told until standard input ends."""
        await self._user.start()
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        say({"user": "up"})
        while line := (await lines.readline()).decode().strip():
            word, _, rest = line.partition(" ")
            if word == "directory":
                self._listed = self._read(Path(rest))
            elif word == "status":
                say(asdict(self._user.status()))
            elif word == "count":
                say(await self._ask(line.encode()))
        await self._user.close()

    async def _ask(self, request: bytes) -> dict[str, Any]:
        model = next(entry for entry in self._listed.record.entries if entry.role == Role.MODEL)
        started = time.monotonic()
        first = None
        frames = 0
        try:
            async with aclosing(self._user.ask(request, model)) as reply:
                async for frame in reply:
                    first = first or time.monotonic() - started
                    frames += frame.kind == FrameKind.DELTA
        except PlanetServeError as error:
            return {"error": type(error).__name__, "reason": str(error), "frames": frames}
        return {"error": "", "frames": frames, "first_s": first, "seconds": time.monotonic() - started}

    @staticmethod
    def _read(path: Path) -> Directory:
        record = decode(DirectoryRecord, path.read_bytes())
        return Directory(record, record.height)


if __name__ == "__main__":
    asyncio.run(UserProcess(Path(sys.argv[1])).run())
