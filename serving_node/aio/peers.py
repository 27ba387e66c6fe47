"""Model nodes asking each other: sends a request on to a peer, and answers `POST /forward`.

A peer that does not accept within seconds, falls silent, or fails before its first text is given up, and the caller goes
on with the next best. Its heartbeats tell a long queue from a dead machine.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine

import aiohttp
from aiohttp import web

from network.aio.dialer import UNREACHABLE, Dialer
from network.chain_records import DirectoryEntry
from network.errors import DecodeError, PlanetServeError
from network.inference import FrameKind, InferenceRequest, ReplyFrame
from serving_node.breaker import Fault
from serving_node.forwarding import MAX_ENVELOPE, STILL_HERE, Forward, ForwardGate, ForwardRefused, RecordReader, record

log = logging.getLogger(__name__)

CONNECT_S = 2.0
HEARTBEAT_S = 1.0
SILENCE_S = 4.0
WATCH_S = 0.25
STATUS = {"garbage": 400, "oversized": 413, "replay": 409}
Serve = Callable[[InferenceRequest, tuple[bytes, ...], Callable[[ReplyFrame], None]], Coroutine[None, None, None]]


class PeerFailed(PlanetServeError):
    """A peer did not answer, or broke off; `fault` says whose business that is."""

    def __init__(self, message: str, fault: Fault) -> None:
        super().__init__(message)
        self.fault = fault


class PeerClient:
    """Sends requests to peers; closing the iterator tells the peer to stop."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    async def ask(self, peer: DirectoryEntry, envelope: bytes) -> AsyncGenerator[ReplyFrame, None]:
        """The frames of the peer's reply, up to FINAL or FAILED. Raises PeerFailed."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        reader = RecordReader()
        try:
            async with self._dialer.request("POST", peer, "/forward", data=envelope, timeout=timeout) as response:
                if response.status != 200:
                    # A 4xx is about this request or our directory, and no sign of a sick peer.
                    fault = Fault.REFUSED if 400 <= response.status < 500 else Fault.BROKEN
                    raise PeerFailed(f"it answered {response.status}", fault)
                async for data in response.content.iter_any():
                    for frame in reader.feed(data):
                        yield frame
                        if frame.kind in (FrameKind.FINAL, FrameKind.FAILED):
                            return
        except UNREACHABLE as error:
            raise PeerFailed(f"{type(error).__name__}", Fault.UNREACHABLE) from error
        except DecodeError as error:
            raise PeerFailed(f"{type(error).__name__}", Fault.BROKEN) from error
        raise PeerFailed("it broke off", Fault.BROKEN)


class ForwardServer:
    """Answers requests that peers hand over."""

    def __init__(self, gate: ForwardGate, serve: Serve) -> None:
        self._gate = gate
        self._serve = serve
        self.refused: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        """The endpoint that peers post to."""
        return [web.post("/forward", self._on_forward)]

    async def _on_forward(self, http: web.Request) -> web.StreamResponse:
        try:
            forward, request = await self._opened(http)
        except ForwardRefused as refused:
            self.refused[refused.reason] += 1
            log.info("a forwarded request was refused", extra={"fields": {"reason": refused.reason}})
            return web.json_response({"error": refused.reason}, status=STATUS.get(refused.reason, 403))
        frames: asyncio.Queue[ReplyFrame] = asyncio.Queue()
        task = asyncio.create_task(self._serve(request, forward.visited, frames.put_nowait))
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        try:
            await self._stream(http, response, task, frames)
        except ConnectionResetError:
            pass  # the sender has gone: its user left, or another node answers
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return response

    async def _opened(self, http: web.Request) -> tuple[Forward, InferenceRequest]:
        raw = bytearray()
        async for data in http.content.iter_any():
            raw += data
            if len(raw) > MAX_ENVELOPE:
                raise ForwardRefused("oversized", "larger than any request")
        return self._gate.open(bytes(raw), time.time_ns() // 1_000_000)

    async def _stream(
        self, http: web.Request, response: web.StreamResponse, task: asyncio.Task[None], frames: asyncio.Queue[ReplyFrame]
    ) -> None:
        await response.prepare(http)
        beat_at = time.monotonic() + HEARTBEAT_S
        while http.transport is not None and not http.transport.is_closing():
            try:
                async with asyncio.timeout(WATCH_S):
                    frame = await frames.get()
            except TimeoutError:
                if task.done() and frames.empty():
                    break  # ended without a last frame: the sender sees that it broke off
                if time.monotonic() >= beat_at:
                    await response.write(STILL_HERE)
                    beat_at = time.monotonic() + HEARTBEAT_S
                continue
            await response.write(record(frame))
            if frame.kind in (FrameKind.FINAL, FrameKind.FAILED):
                await response.write_eof()
                break
