"""TLS between nodes: the listed key answers, or nothing of ours leaves."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from network.aio import tls
from network.aio.tls import WrongKey, certificate, client_context, public_key, server_context
from network.crypto import SigningKey

OWN, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33)))
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


async def listening(context: ssl.SSLContext, serve: Serve) -> tuple[asyncio.Server, int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    return server, int(server.sockets[0].getsockname()[1])


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readexactly(4))
    writer.close()


async def test_the_listed_key_is_spoken_to_in_tls_1_3() -> None:
    server, port = await listening(server_context(OWN), echo)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(OWN.public))
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    writer.write(b"cell")
    assert await reader.readexactly(4) == b"cell"
    writer.close()
    server.close()


async def test_another_key_gets_not_a_byte() -> None:
    heard: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            heard.append(await reader.read())
        writer.close()

    server, port = await listening(server_context(OTHER), keep)
    with pytest.raises(WrongKey):
        await asyncio.open_connection("127.0.0.1", port, ssl=client_context(OWN.public))
    server.close()
    await asyncio.sleep(0.05)
    assert not b"".join(heard)


async def test_an_older_tls_is_refused_by_both_ends() -> None:
    old = server_context(OWN)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    server, port = await listening(old, echo)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", port, ssl=client_context(OWN.public))
    server.close()


def test_a_certificate_is_the_same_every_time_and_says_nothing_but_the_key() -> None:
    private = Ed25519PrivateKey.from_private_bytes(OWN.seed)
    pem = certificate(private)
    assert pem == certificate(private)
    parsed = x509.load_pem_x509_certificate(pem)
    assert public_key(parsed.public_bytes(Encoding.DER)) == OWN.public
    other = x509.load_pem_x509_certificate(certificate(Ed25519PrivateKey.from_private_bytes(OTHER.seed)))
    shown = [(one.subject, one.serial_number, one.not_valid_before_utc, one.not_valid_after_utc) for one in (parsed, other)]
    assert shown[0] == shown[1]


def test_a_certificate_of_another_kind_holds_no_key_of_ours() -> None:
    private = generate_private_key(SECP256R1())
    builder = x509.CertificateBuilder(tls._NAME, tls._NAME, private.public_key(), 1, tls._FROM, tls._UNTIL)
    signed = builder.sign(private, SHA256())
    assert public_key(signed.public_bytes(Encoding.DER)) is None
    assert public_key(None) is None


@given(st.binary(max_size=400))
def test_whatever_a_peer_shows_is_a_key_or_none(der: bytes) -> None:
    assert public_key(der) is None
