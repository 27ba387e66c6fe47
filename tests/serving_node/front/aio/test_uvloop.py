"""The same on uvloop, whose transports are not asyncio's own; where it is installed (the extra `speed`)."""

import asyncio
from typing import Any

import pytest


def test_answers_streams_and_the_exchange_work_on_uvloop(new_cluster: Any) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def ask() -> None:
        cluster = new_cluster()
        try:
            await cluster.start(2)
            await cluster.met()
            caller = await cluster.call()
            chat = {"model": "m", "messages": [{"role": "user", "content": "hello " * 100}]}
            for stream in (False, True):
                answer = await caller.ask({**chat, "stream": stream})
                assert answer.status == 200 and answer.body
        finally:
            await cluster.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())
