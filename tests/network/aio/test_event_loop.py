"""The loop that the settings name, and pinned TLS on each of them."""

import asyncio
import ssl
from importlib.util import find_spec

import pytest

from network.aio import event_loop
from network.aio.tls import client_context, server_context
from network.crypto import SigningKey
from network.errors import ConfigError

OWN, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33)))
INSTALLED = find_spec("uvloop") is not None
UVLOOP = pytest.param("uvloop", marks=pytest.mark.skipif(not INSTALLED, reason="uvloop is not installed"))


async def _module() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.parametrize("kind", ["asyncio", UVLOOP])
def test_the_named_loop_runs(kind: str) -> None:
    assert event_loop.run(_module(), kind) == kind
    assert event_loop.run(_module(), "auto") == ("uvloop" if INSTALLED else "asyncio")


def test_a_loop_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_loop, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"planetserve\[speed\]"):
        event_loop.run(_module(), "uvloop")
    assert event_loop.run(_module(), "auto") == "asyncio"


@pytest.mark.parametrize("kind", ["asyncio", UVLOOP])
def test_a_wrong_key_ends_the_handshake_on_either_loop(kind: str) -> None:
    async def visit() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"x")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context(OWN))
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(OWN.public))
        assert await reader.read() == b"x"
        writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=client_context(OTHER.public))
        server.close()

    event_loop.run(visit(), kind)
