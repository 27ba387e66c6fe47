"""Small HTTP requests between nodes, and bodies of known most length; used by gossip, dial-backs and their likes."""

import asyncio

from aiohttp import StreamReader

from network.aio.dialer import Dialer
from network.chain_records import DirectoryEntry
from network.errors import DecodeError


async def exchange(
    dialer: Dialer, method: str, node: DirectoryEntry, path: str, limit: int, seconds: float, body: bytes | None = None
) -> bytes:
    """A node's answer of at most `limit` bytes. Raises one of `dialer.UNREACHABLE`, or DecodeError when it is no answer."""
    async with asyncio.timeout(seconds), dialer.request(method, node, path, data=body) as response:
        if response.status != 200:
            raise DecodeError(f"it answered {response.status}")
        return await _bounded(response.content, limit)


async def bounded_body(content: StreamReader, limit: int, seconds: float) -> bytes:
    """A whole body. Raises DecodeError when it has more than `limit` bytes, TimeoutError when it does not come in time."""
    async with asyncio.timeout(seconds):
        return await _bounded(content, limit)


async def _bounded(content: StreamReader, limit: int) -> bytes:
    raw = bytearray()
    async for part in content.iter_any():
        raw += part
        if len(raw) > limit:
            raise DecodeError(f"a body of more than {limit} bytes")
    return bytes(raw)
