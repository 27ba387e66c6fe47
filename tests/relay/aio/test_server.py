"""The relay's shell on a real socket, and the process itself: what it says when it cannot start."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from network.aio.dialer import Dialer
from network.cell import CellKind, decode_cell, encode_cell
from network.crypto import exchange_public
from network.directory import empty
from network.geometry import GEOMETRY
from network.handshake import OnionKey
from relay.aio.links import Links
from relay.aio.server import RelayServer
from relay.core import RelayCore


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def relay() -> AsyncIterator[tuple[RelayCore, RelayServer, str]]:
    private = bytes(range(1, 33))
    core = RelayCore(bytes(20), [OnionKey(private, exchange_public(private))], lambda: empty("test"), os.urandom)
    server = RelayServer(core, Clock())
    app = web.Application()
    app.add_routes(server.routes())
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield core, server, "ws://{}:{}/link".format(*runner.addresses[0][:2])
    await server.close()
    await runner.cleanup()


async def test_a_bad_create_is_answered_by_destroy_and_links_are_counted(relay: tuple[RelayCore, RelayServer, str]) -> None:
    core, server, url = relay
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as link:
        await link.send_bytes(encode_cell(b"link-id.", CellKind.CREATE, bytes(GEOMETRY.cell_body)))
        link_id, kind, _ = decode_cell(await link.receive_bytes(timeout=20))
        assert (link_id, kind) == (b"link-id.", CellKind.DESTROY)
        assert server.links == 1
    async with asyncio.timeout(20):
        while server.links:
            await asyncio.sleep(0.01)
    assert core.counts["dropped_bad_create"] == 1


async def test_a_link_that_is_gone_takes_nothing_and_closing_twice_is_fine() -> None:
    links = Links(lambda event: None, Dialer())
    links.send_cells(7, [b"cell"])
    links.send_message(7, b"message")
    links.tell_when_written(7)
    links.drop(7)
    await links.close()
    assert len(links) == 0


def _run(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relay", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[3], check=False)


def _settings(folder: Path, listen: str) -> Path:
    key = {"type": "tendermint/PubKeyEd25519", "value": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
    genesis = {
        "genesis_time": "2026-11-21T00:00:00Z",
        "chain_id": "test",
        "initial_height": "1",
        "validators": [{"pub_key": key, "power": "1"}],
    }
    (folder / "genesis.json").write_text(json.dumps(genesis))
    path = folder / "config.toml"
    path.write_text(
        f'[node]\nname = "r"\nchain_id = "test"\nlisten = "{listen}"\nmetrics = "127.0.0.1:{_free_port()}"\nfamily = "f"\n'
        'rpc = ["http://127.0.0.1:9"]\ngenesis = "genesis.json"\nkeys = "keys.json"\n'
    )
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    missing = _run(tmp_path / "none.toml")
    assert missing.returncode == 3 and "none.toml" in missing.stderr
    wide = _run(_settings(tmp_path, "0.0.0.0:8800"))
    assert wide.returncode == 3 and "node.listen" in wide.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = _run(_settings(tmp_path, f"127.0.0.1:{taken.getsockname()[1]}"))
    assert busy.returncode == 3 and "cannot listen" in busy.stderr
    (tmp_path / "keys.json").write_text("{}")
    (tmp_path / "keys.json").chmod(0o600)
    keys = _run(_settings(tmp_path, f"127.0.0.1:{_free_port()}"))
    assert keys.returncode == 5 and "keys.json" in keys.stderr
    for result in (missing, wide, busy, keys):
        assert "Traceback" not in result.stderr
