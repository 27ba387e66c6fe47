"""One relay or model node as a process of its own, without a chain: `python -m evals.overlay.node_process relay|model SEED`.

It says `{"address", "onion_key"}` on a line of its own, then obeys lines on standard input: `directory PATH` (an encoded
DirectoryRecord replaces what it routes by), `status` (answers one line of JSON). It ends when its input ends.
The model node answers `echo` at once, and `count N MS` with N frames of text, one every MS milliseconds.
"""

import asyncio
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from network.chain_records import DirectoryRecord
from network.codec import decode
from network.crypto import exchange_public, sha256
from network.directory import Directory, empty
from network.handshake import OnionKey
from network.inference import FrameKind, ReplyFrame
from relay.aio.server import RelayServer
from relay.core import RelayCore
from serving_node.aio.clove_server import CloveServer, ReplyStream


class NodeProcess:
    """What one process holds."""

    def __init__(self, role: str, seed: str) -> None:
        self._listed = empty("bench")
        self._private = sha256(b"evals/overlay/node", role.encode(), seed.encode())
        self.onion_key = exchange_public(self._private)
        name = sha256(self.onion_key)[:20]
        if role == "relay":
            self._core: RelayCore | None = RelayCore(
                name, [OnionKey(self._private, self.onion_key)], lambda: self._listed, os.urandom
            )
            self._server: RelayServer | CloveServer = RelayServer(self._core)
        else:
            self._core = None
            self._server = CloveServer(self._private, answer, os.urandom)

    async def run(self) -> None:
        """Serve until standard input ends."""
        app = web.Application()
        app.add_routes(self._server.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        say({"address": "{}:{}".format(*runner.addresses[0][:2]), "onion_key": self.onion_key.hex()})
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := (await lines.readline()).decode().strip():
            self._obey(line)
        await self._server.close()
        await runner.cleanup()

    def _obey(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "directory":
            record = decode(DirectoryRecord, Path(rest).read_bytes())
            self._listed = Directory(record, record.height)
        elif word == "status":
            say(self._status())

    def _status(self) -> dict[str, Any]:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        used = resource.getrusage(resource.RUSAGE_SELF)
        found = {"rss_bytes": pages * resource.getpagesize(), "cpu_s": used.ru_utime + used.ru_stime}
        if isinstance(self._server, CloveServer):
            return {**found, "sessions": self._server.sessions, "counts": dict(self._server.counts)}
        assert self._core is not None
        return {**found, "circuits": len(self._core.circuits), "links": self._server.links, "counts": dict(self._core.counts)}


async def answer(request: bytes, stream: ReplyStream) -> None:
    """`echo`: nothing but the end. `count N MS`: N frames with a pause before each. What follows a line's end is ballast."""
    stream.send(ReplyFrame(kind=FrameKind.ACCEPTED))
    words = request.partition(b"\n")[0].split()
    if words[:1] == [b"count"]:
        for number in range(int(words[1])):
            await asyncio.sleep(int(words[2]) / 1000)
            stream.send(ReplyFrame(kind=FrameKind.DELTA, payload=f"{number} ".encode()))
    stream.send(ReplyFrame(kind=FrameKind.FINAL))


def say(document: dict[str, Any]) -> None:
    """One line for the parent."""
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    asyncio.run(NodeProcess(sys.argv[1], sys.argv[2]).run())
