"""Load on OpenAI endpoints: requests that leave when they are due, whatever became of those before, and how long each took.

Open loop: a router that is slow meets the same arrivals as one that is fast. Connections are kept alive, one request on
each at a time. Time to the first token is the time to the first `data:` of the stream, counted from when the request was
due, so that a generator that is late counts against nobody but the machine; its lateness is kept too.
"""

import asyncio
import socket
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from evals.forwarding.http1 import BadHttp, Head, take_chunks

PATIENCE_S = 120.0
CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a plan: due at a second, at one of the entries; `counted` is false while everything warms up."""

    due_s: float
    entry: int
    body: bytes
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it. `status` is 0 where no answer came, and `whole` whether the stream came to its end."""

    ask: Ask
    status: int
    ttft_s: float
    total_s: float
    late_s: float
    whole: bool
    reason: str = ""


class Entry:
    """One endpoint and its idle connections."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        given = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._head = f"POST {CHAT} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n{given}"
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, ask: Ask, due: float) -> Outcome:
        """Send one request and read its answer to the end."""
        loop = asyncio.get_running_loop()
        late = loop.time() - due
        status, first, whole, reason = 0, 0.0, False, ""
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await self._connection()
                sock = writer.get_extra_info("socket")
                writer.write(f"{self._head}content-length: {len(ask.body)}\r\n\r\n".encode() + ask.body)
                acknowledge(sock)
                head = Head.parse((await reader.readuntil(b"\r\n\r\n"))[:-4])
                status = int(head.path)
                acknowledge(sock)
                first, whole, reason = await _read_answer(reader, head)
                if whole and head.headers.get("connection", "").lower() != "close":
                    self._idle.append((reader, writer))
                else:
                    writer.close()
        except (OSError, TimeoutError, BadHttp, EOFError, asyncio.LimitOverrunError) as error:
            reason = f"{type(error).__name__}: {error}"
        return Outcome(ask, status, (first or loop.time()) - due, loop.time() - due, late, whole and status == 200, reason)

    def close(self) -> None:
        """Close what is idle."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
        return await asyncio.open_connection(self._host, self._port, limit=1 << 20)


def acknowledge(sock: socket.socket) -> None:
    """Acknowledge at once what comes next: a router without TCP_NODELAY would else be charged our kernel's 40 ms."""
    if hasattr(socket, "TCP_QUICKACK"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


async def _read_answer(reader: asyncio.StreamReader, head: Head) -> tuple[float, bool, str]:
    """When the first data came, whether the end did, and what a refusal said."""
    loop = asyncio.get_running_loop()
    first, said, buffer, seen = 0.0, b"", bytearray(), 0
    length, streamed = head.length, "event-stream" in head.headers.get("content-type", "")
    done = length == 0
    while not done:
        data = await reader.read(1 << 16)
        if not data:
            break
        if head.chunked:
            buffer += data
            pieces, done = take_chunks(buffer)
        else:
            seen += len(data)
            pieces, done = [data], length is not None and seen >= length
        said = (said + b"".join(pieces))[-512:]
        if not first and (b"data:" in said or not streamed):
            first = loop.time()
    if not streamed:
        return first, done, said.decode(errors="replace")
    whole = done and b"[DONE]" in said
    return first, whole, "" if whole else "the stream broke off"


async def drive(plan: Sequence[Ask], urls: Sequence[str], headers: dict[str, str] | None = None) -> list[Outcome]:
    """All of a plan's requests at these entries, each when it is due. Returns when all have ended, in the plan's order."""
    entries = [Entry(url, headers or {}) for url in urls]
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.05
    tasks = []
    try:
        for ask in plan:
            pause = start + ask.due_s - loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
            entry = entries[ask.entry % len(entries)]
            tasks.append(asyncio.create_task(entry.ask(ask, start + ask.due_s)))
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        for entry in entries:
            entry.close()


@dataclass(frozen=True, slots=True)
class Summary:
    """The counted part of a run, in milliseconds. Whatever did not come whole is a failure and has no time."""

    requests: int
    failures: int
    mean_ttft: float
    p50_ttft: float
    p99_ttft: float
    mean_total: float
    p99_total: float
    worst_late: float
    reasons: tuple[str, ...]


def summary(outcomes: Sequence[Outcome]) -> Summary:
    """Sums a run up."""
    counted = [outcome for outcome in outcomes if outcome.ask.counted]
    good = [outcome for outcome in counted if outcome.whole]
    first = sorted(outcome.ttft_s * 1e3 for outcome in good) or [float("nan")]
    total = sorted(outcome.total_s * 1e3 for outcome in good) or [float("nan")]
    reasons = tuple(sorted({f"{each.status} {each.reason}"[:160] for each in counted if not each.whole}))[:3]
    return Summary(
        requests=len(counted),
        failures=len(counted) - len(good),
        mean_ttft=statistics.fmean(first),
        p50_ttft=quantile(first, 0.5),
        p99_ttft=quantile(first, 0.99),
        mean_total=statistics.fmean(total),
        p99_total=quantile(total, 0.99),
        worst_late=max((outcome.late_s * 1e3 for outcome in counted), default=0.0),
        reasons=reasons,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of sorted values does not exceed (nearest rank)."""
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
