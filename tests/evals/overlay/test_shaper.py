"""The cable in user space: late, in order, no faster than it may be, the same for the same seed; and real bytes over it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.overlay.shaper import Lane, Shape, Shaper

SENT = st.lists(st.tuples(st.floats(0, 2), st.integers(1, 20_000)), min_size=1, max_size=40)


@given(SENT, st.floats(0, 0.5), st.floats(0, 0.2), st.sampled_from([0.0, 1e4, 1e6]), st.integers())
def test_a_lane_is_late_ordered_bounded_and_seeded(
    sent: list[tuple[float, int]], delay: float, jitter: float, rate: float, seed: int
) -> None:
    shape = Shape(delay, jitter, rate)
    now, lanes = 0.0, [Lane(shape, random.Random(seed)) for _ in range(2)]
    arrivals = []
    for pause, size in sent:
        now += pause
        one, two = (lane.arrival(size, now) for lane in lanes)
        assert one == two >= now + delay
        arrivals.append(one)
    assert arrivals == sorted(arrivals)
    if rate:
        total = sum(size for _, size in sent)
        assert arrivals[-1] >= total / rate + delay - 1e-9


def test_jitter_has_the_mean_that_it_says() -> None:
    shape = Shape(delay_s=0.01, jitter_s=0.02)
    late = [Lane(shape, random.Random(seed)).arrival(1, 0.0) - 0.01 for seed in range(4000)]
    assert 0.018 < sum(late) / len(late) < 0.022


@pytest.fixture
async def echo() -> AsyncIterator[tuple[str, int]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[:2]
    server.close()


async def over(shaper: Shaper) -> Any:
    host, _, port = (await shaper.start()).rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the connection ends or breaks soon, with nothing said."""
    try:
        async with asyncio.timeout(10):
            return await reader.read() == b""
    except ConnectionError:
        return True


async def test_bytes_come_through_whole_and_late(echo: tuple[str, int]) -> None:
    shaper = Shaper(echo, Shape(delay_s=0.05), "seed")
    reader, writer = await over(shaper)
    data = random.Random(1).randbytes(300_000)
    began = time.monotonic()
    writer.write(data)
    writer.write_eof()
    assert await reader.read(-1) == data
    assert time.monotonic() - began >= 0.1, "there and back"
    await shaper.close()


async def test_a_rate_holds(echo: tuple[str, int]) -> None:
    shaper = Shaper(echo, Shape(bytes_per_s=400_000), "seed")
    reader, writer = await over(shaper)
    began = time.monotonic()
    writer.write(bytes(100_000))
    await reader.readexactly(100_000)
    assert time.monotonic() - began >= 0.25
    await shaper.close()


async def test_connections_break_and_nobody_at_the_far_end_is_a_break(echo: tuple[str, int]) -> None:
    breaking = Shaper(echo, Shape(lost_per_s=50.0), "seed")
    reader, _ = await over(breaking)
    assert await ended(reader)
    nobody = Shaper(("127.0.0.1", 9), Shape(), "seed")
    reader, _ = await over(nobody)
    assert await ended(reader)
    await breaking.close()
    await nobody.close()
