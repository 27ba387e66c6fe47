"""What the group's exchange costs on the wire: `python -m evals.forwarding.sync_bytes [--trace FILE] [--nodes 8] ...`.

The trace runs through the simulated fleet (`simulate.py`) with real forwarders; every post, answer and snapshot is made,
signed, sent and read as between sidecars. A request is told by one node to each of the others: bytes are per request and
peer, and for all peers together. HTTP heads are measured between the sidecar's own client and server.
"""

import argparse
import asyncio
import sys
from collections import Counter
from pathlib import Path

from aiohttp import ClientTimeout, web

from evals.forwarding.cells import summary
from evals.forwarding.flight import Fleet
from evals.forwarding.members import Members
from evals.forwarding.simulate import add_fleet, fleet_of
from evals.forwarding.simulator import Simulation
from evals.forwarding.traces import CONVERSATION, Trace, load
from evals.report import Row, missed, row, show
from network.aio.dialer import Dialer
from network.chain_records import DirectoryEntry

PUBLISHED = ("smg 1.13.0, mesh of two, about; `bench_routers` measures it", 1_300.0)
GOAL_B = 100
ACK = bytes(10)


def main() -> int:
    """Runs, prints, fails when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.sync_bytes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trace", type=Path, default=CONVERSATION)
    parser.add_argument("--requests", type=int, default=0, help="only the first so many")
    parser.add_argument("--speed", type=float, default=1.0, help="how many times as fast as recorded (default: 1)")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    add_fleet(parser)
    options = parser.parse_args()
    trace = load(options.trace).first(options.requests).scaled(options.speed)
    rows = measure(trace, fleet_of(options), asyncio.run(http_heads()))
    show("forwarding-sync-bytes", rows, options.output)
    return 1 if missed(rows) else 0


def measure(trace: Trace, fleet: Fleet, heads: tuple[int, int]) -> list[Row]:
    """The figures of one run."""
    simulation = Simulation(trace, fleet, lambda running: Members(running, "ttft"))
    outcomes = simulation.run()
    mind = simulation.mind
    assert isinstance(mind, Members)
    requests, peers = len(trace.requests), fleet.nodes - 1
    told = requests * peers
    by_kind: Counter[str] = mind.message_bytes
    exchanges = mind.messages["posts"] + mind.messages["snapshots"]
    http = mind.sent_bytes + exchanges * sum(heads)
    reuse = summary("ttft", outcomes, fleet.nodes, mind.sent_bytes, 0.0).reuse
    return [
        row("bytes_per_request_and_peer", mind.sent_bytes / told, "B", at_most=GOAL_B, published=PUBLISHED),
        *(row(f"of_which_{kind}", size / told, "B") for kind, size in sorted(by_kind.items())),
        row("with_http_heads", http / told, "B"),
        row("bytes_per_request_all_peers", mind.sent_bytes / requests, "B"),
        row("post_bytes_mean", by_kind["posts"] / mind.messages["posts"], "B"),
        row("requests_per_post", told / mind.messages["posts"], "1"),
        row("http_request_head", heads[0], "B"),
        row("http_response_head", heads[1], "B"),
        row("snapshots", mind.messages["snapshots"], "1"),
        row("reuse", reuse, "share"),
    ]


async def http_heads() -> tuple[int, int]:
    """Bytes of the head of a post and of the head of its answer."""
    heads: list[int] = []

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=ACK, content_type="application/octet-stream")

    app = web.Application()
    app.add_routes([web.post("/group/delta", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    dialer = Dialer()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        for source, sink in ((reader, back), (there, writer)):
            head = await source.readuntil(b"\r\n\r\n")
            heads.append(len(head))
            sink.write(head + await source.read(65536))
            await sink.drain()
        back.close()
        writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    entry = DirectoryEntry(address=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        timeout = ClientTimeout(total=10.0)
        async with dialer.request("POST", entry, "/group/delta", data=bytes(150), timeout=timeout) as reply:
            await reply.read()
    finally:
        server.close()
        await dialer.aclose()
        await runner.cleanup()
    return heads[0], heads[1]


if __name__ == "__main__":
    sys.exit(main())
