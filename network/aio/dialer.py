"""How a node connects to the nodes of its directory: TLS with the listed key, or plain where the rule says so.

The rule is the same at both ends and nothing announces it: plain to a loopback address, TLS to any other; TLS to loopback
too when this node's `[node] tls` is "always" (`docs/overlay.md` section 14).
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from network.aio.tls import client_context
from network.chain_records import DirectoryEntry
from network.config import NodeConfig, needs_tls, parse_address
from network.errors import ConfigError

CONNECT_SECONDS = 5.0
# Everything that says: this node cannot be reached, or is not who it should be.
UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError, ValueError, ConfigError)

_HOST = re.compile(r"[0-9A-Za-z.:-]{1,253}")


class Dialer:
    """The HTTP client for other nodes: no cookies, no proxies from the environment, no connection limit, no name of itself."""

    def __init__(self, *, always_tls: bool = False) -> None:
        self._always_tls = always_tls
        self._session: aiohttp.ClientSession | None = None

    async def open_socket(self, node: DirectoryEntry, path: str, limit: int) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket whose messages have at most `limit` bytes. Raises one of UNREACHABLE."""
        url, context = self.way_to(node, path)
        async with asyncio.timeout(CONNECT_SECONDS):
            return await self._open().ws_connect(
                url.replace("http", "ws", 1), ssl=context or True, compress=0, max_msg_size=limit, autoping=False
            )

    @asynccontextmanager
    async def request(
        self, method: str, node: DirectoryEntry, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One HTTP request with aiohttp's options. Raises one of UNREACHABLE."""
        url, context = self.way_to(node, path)
        async with self._open().request(method, url, ssl=context or True, allow_redirects=False, **options) as response:
            yield response

    def way_to(self, node: DirectoryEntry, path: str) -> tuple[str, ssl.SSLContext | None]:
        """(URL, TLS settings or None) for a listed node. Its address is any text that somebody registered: ConfigError."""
        address = parse_address(node.address)
        if not _HOST.fullmatch(address.host):
            raise ConfigError("an address that is no host and port")
        if not needs_tls(address, always=self._always_tls):
            return f"http://{address}{path}", None
        return f"https://{address}{path}", client_context(node.signing_key)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                trust_env=False,
            )
        return self._session


def dialer_of(node: NodeConfig) -> Dialer:
    """The dialer that a role's settings ask for."""
    return Dialer(always_tls=node.tls == "always")
