"""Router processes, with one that is a few lines of Python: waited for, measured, ended, and quoted when they die."""

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from evals.forwarding.router_processes import RouterFailed, cpu_seconds, running, socket_bytes
from evals.forwarding.routers import Launch, Router

SERVER = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = b'planetserve_group_bytes_sent_total 1234.0\\n' if self.path == '/metrics' else b'{"healthy_workers": 2}'
        self.send_response(200); self.end_headers(); self.wfile.write(said)
http.server.HTTPServer(('127.0.0.1', PORT), Page).serve_forever()
"""


def router(program: str) -> Router:
    def launches(ports: Sequence[int], engines: Sequence[str], folder: Path) -> list[Launch]:
        at = f"http://127.0.0.1:{ports[0]}"
        argv = (sys.executable, "-c", program.replace("PORT", str(ports[0])))
        return [Launch(argv, ports[0], f"{at}/ready", counters=f"{at}/metrics")]

    return Router("test", "", 1, launches)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_a_router_is_waited_for_measured_and_ended(tmp_path: Path) -> None:
    async with running(router(SERVER), [free_port()], ["a", "b"], tmp_path) as found, aiohttp.ClientSession() as client:
        (process,) = found.processes
        assert found.cpu_s() > 0 and cpu_seconds(process.pid) > 0
        assert await found.bytes_between(client) == 1234
    assert process.returncode is not None
    assert cpu_seconds(process.pid) == 0.0


async def test_one_that_dies_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(RouterFailed, match="no such model"):
        async with running(router("raise SystemExit('no such model')"), [free_port()], ["a"], tmp_path):
            pass


def test_bytes_are_counted_by_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as near, listener.accept()[0] as far:
            near.sendall(b"x" * 5000)
            far.recv(1, socket.MSG_PEEK)
            said = socket_bytes([port])
    assert said is None or said >= 5000
