"""The operator's port: metrics, status, and a taken port."""

import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from network.aio.ops import OpsServer
from network.config import Address
from network.errors import ConfigError


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


async def test_metrics_and_status() -> None:
    registry = CollectorRegistry()
    Counter("planetserve_things", "Things", registry=registry).inc(3)
    listen = Address("127.0.0.1", free_port())
    server = OpsServer(listen, lambda: {"name": "relay-03", "role": "relay", "ready": True, "reason": ""}, registry)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{listen}/metrics") as response:
                assert "planetserve_things_total 3.0" in await response.text()
            async with session.get(f"http://{listen}/status") as response:
                assert (await response.json())["name"] == "relay-03"
        with pytest.raises(ConfigError, match=f"cannot listen on {listen}"):
            await OpsServer(listen, dict, registry).start()
    finally:
        await server.close()
