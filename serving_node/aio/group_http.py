"""One exchange with a peer of the group over HTTP, and what is read of one: bounded, within seconds."""

import time

import aiohttp
from aiohttp import web

from network.aio.dialer import Dialer
from network.chain_records import DirectoryEntry
from network.errors import PlanetServeError
from network.hrtree.delta import Refused

TIMEOUT = aiohttp.ClientTimeout(total=5.0)
HELLO = "x-planetserve-hello"


class Answered(PlanetServeError):
    """A peer's answer that is no 200."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it answered {status}")
        self.status = status


class GroupHttp:
    """Our end of it. Raises when an exchange fails, is refused, or is answered with more than `limit` bytes."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    async def post(self, peer: DirectoryEntry, path: str, limit: int, data: bytes) -> bytes:
        """The answer to a body of ours."""
        return await self._request("POST", peer, path, limit, data=data)

    async def get(self, peer: DirectoryEntry, path: str, limit: int, hello: bytes) -> bytes:
        """The answer to a question that our Hello alone makes."""
        return await self._request("GET", peer, path, limit, headers={HELLO: hello.hex()})

    async def _request(
        self,
        method: str,
        peer: DirectoryEntry,
        path: str,
        limit: int,
        *,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        async with self._dialer.request(method, peer, path, data=data, headers=headers, timeout=TIMEOUT) as answer:
            raw = await bounded(answer.content, limit)
            if answer.status != 200:
                raise Answered(answer.status)
            return raw


def hello_in(request: web.Request) -> bytes:
    """The Hello of a GET. Raises Refused."""
    try:
        return bytes.fromhex(request.headers.get(HELLO, ""))
    except ValueError as error:
        raise Refused("garbage", "a hello that is no hexadecimal") from error


async def bounded(stream: aiohttp.StreamReader, limit: int) -> bytes:
    """The whole body, read no further than one byte past the limit. Raises Refused."""
    body = bytearray()
    while len(body) <= limit:
        piece = await stream.read(limit + 1 - len(body))
        if not piece:
            return bytes(body)
        body += piece
    raise Refused("oversized", f"more than {limit} bytes")


def words(error: Exception) -> str:
    """What went wrong; a timeout has no words of its own."""
    return str(error) or type(error).__name__


def wall_ms() -> int:
    """The calendar, as Hellos say it."""
    return time.time_ns() // 1_000_000
