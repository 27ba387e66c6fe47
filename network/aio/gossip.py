"""What nodes tell each other beside cells, over HTTP: today which directory they route by.

Served on the port that a node registers, asked with an ordinary client that sends nothing of its own
(`docs/overlay.md` section 11).
"""

import asyncio
from collections.abc import Callable

from aiohttp import web

from network.aio.dialer import Dialer
from network.chain_records import DirectoryEntry
from network.codec import decode, encode
from network.directory import Directory
from network.directory_summary import DIRECTORY_PATH, SUMMARY_LIMIT, DirectorySummary, summary_of
from network.errors import DecodeError

ASK_SECONDS = 5.0


class DirectoryPage:
    """`GET /directory` of one node."""

    def __init__(self, directory: Callable[[], Directory]) -> None:
        self._directory = directory

    def routes(self) -> list[web.RouteDef]:
        """Beside the node's other endpoints."""
        return [web.get(DIRECTORY_PATH, self._answer)]

    async def _answer(self, _request: web.Request) -> web.Response:
        return web.Response(body=encode(summary_of(self._directory())))


async def fetch_summary(dialer: Dialer, node: DirectoryEntry) -> DirectorySummary:
    """Which directory a node routes by. Raises one of `dialer.UNREACHABLE`, or DecodeError."""
    async with asyncio.timeout(ASK_SECONDS), dialer.request("GET", node, DIRECTORY_PATH) as response:
        body = await response.content.read(SUMMARY_LIMIT + 1)
    if response.status != 200 or len(body) > SUMMARY_LIMIT:
        raise DecodeError("no answer about the directory")
    return decode(DirectorySummary, body)
