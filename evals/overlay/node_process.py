"""One relay or model node as a process of its own, without a chain.

`python -m evals.overlay.node_process relay|model SEED [LISTEN [ADVERTISE]]` says on a line of its own how the directory is to
list it. Then it obeys lines on standard input, and ends when that ends: `directory PATH` (an encoded DirectoryRecord replaces
what it routes by), `status` and `reachable` (whether two listed relays can call it back), each answered by one line of JSON.
It gossips, and off loopback it speaks TLS, as the product does. The model node answers `echo` at once, and `count N MS` with N
frames of text, one every MS milliseconds.
"""

import asyncio
import gc
import json
import os
import resource
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from network.aio.dialer import Dialer
from network.aio.listening import PublicPort
from network.aio.logs import configure
from network.aio.neighbours import Neighbours
from network.chain_records import DirectoryRecord
from network.codec import decode
from network.config import Address, NodeConfig, parse_address
from network.crypto import SigningKey, exchange_public, sha256
from network.directory import Directory, empty
from network.handshake import OnionKey
from network.ids import node_id
from network.inference import FrameKind, ReplyFrame
from relay.aio.server import RelayServer
from relay.core import RelayCore
from serving_node.aio.clove_server import CloveServer, ReplyStream

CHAIN = "bench"
ANY_PORT = "127.0.0.1:0"


class NodeProcess:
    """What one process holds."""

    def __init__(self, role: str, seed: str, listen: Address, advertise: Address | None) -> None:
        self._listed = empty(CHAIN)
        secret = sha256(b"evals/overlay/node", role.encode(), seed.encode())
        self._key = SigningKey(sha256(b"signing", secret))
        self._onion_key = OnionKey(secret, exchange_public(secret))
        self._dialer = Dialer()
        self._core: RelayCore | None = None
        self._server: RelayServer | CloveServer
        if role == "relay":
            self._core = RelayCore(node_id(self._key.public), [self._onion_key], self.directory, os.urandom)
            self._server = RelayServer(self._core, dialer=self._dialer)
        else:
            self._server = CloveServer(secret, answer, os.urandom)
        self._config = NodeConfig(
            name=seed,
            chain_id=CHAIN,
            listen=listen,
            metrics=listen,
            family=seed,
            rpc=(),
            genesis=Path(),
            keys=Path(),
            log_level="error",
            advertise=advertise,
        )
        self._neighbours = Neighbours(self._config, self._key, self.directory, self._dialer)
        self._port = PublicPort(self._config, self._key, [*self._server.routes(), *self._neighbours.routes()])

    def directory(self) -> Directory:
        """What it routes by."""
        return self._listed

    async def run(self) -> None:
        """Serve until standard input ends."""
        await self._port.start()
        gc.collect()
        gc.freeze()  # as the product's processes do, or its collector would wait for far more garbage
        gossip = asyncio.create_task(self._neighbours.run())
        keys = {"signing_key": self._key.public.hex(), "onion_key": self._onion_key.public.hex()}
        say({"address": str(self._config.public), **keys})
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := (await lines.readline()).decode().strip():
            await self._obey(line)
        gossip.cancel()
        await asyncio.gather(gossip, return_exceptions=True)
        await self._server.close()
        await self._port.close()
        await self._dialer.aclose()

    async def _obey(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "directory":
            record = decode(DirectoryRecord, Path(rest).read_bytes())
            self._listed = Directory(record, record.height)
        elif word == "status":
            say(self._status())
        elif word == "reachable":
            say(asdict(await self._neighbours.check()))

    def _status(self) -> dict[str, Any]:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        used = resource.getrusage(resource.RUSAGE_SELF)
        found = {"rss_bytes": pages * resource.getpagesize(), "cpu_s": used.ru_utime + used.ru_stime}
        found = {**found, "gossip": self._neighbours.status()}
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


def with_port(listen: Address) -> Address:
    """The same address with a free port where none is named."""
    if listen.port:
        return listen
    with socket.create_server((listen.host, 0)) as probe:
        return Address(listen.host, probe.getsockname()[1])


def main() -> None:
    """Run one process."""
    role, seed, *addresses = sys.argv[1:]
    host, _, port = (addresses or [ANY_PORT])[0].rpartition(":")
    advertise = parse_address(addresses[1]) if len(addresses) > 1 else None
    configure(seed, "error")
    asyncio.run(NodeProcess(role, seed, with_port(Address(host, int(port))), advertise).run())


if __name__ == "__main__":
    main()
