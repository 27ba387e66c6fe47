"""Reply streams: numbered, batched, ended once; the rest of the server is driven by the overlay's end-to-end tests."""

import asyncio

from network.inference import FrameKind, ReplyFrame
from serving_node.aio.clove_server import BATCH_SECONDS, ReplyStream

DELTA = ReplyFrame(kind=FrameKind.DELTA, payload=b"x")


class Written:
    """What a stream wrote: the sequence numbers of each batch, and whether it was the last."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[int], bool]] = []

    def __call__(self, frames: list[ReplyFrame], end: bool) -> None:
        self.batches.append(([frame.sequence for frame in frames], end))


async def test_the_first_frame_leaves_at_once_and_the_rest_in_batches() -> None:
    written = Written()
    stream = ReplyStream(written)
    stream.send(ReplyFrame(kind=FrameKind.ACCEPTED))
    assert written.batches == [([0], False)]
    for _ in range(5):
        stream._flushed_at = asyncio.get_running_loop().time()  # however slow this machine is
        stream.send(DELTA)
    async with asyncio.timeout(20):
        while len(written.batches) < 2:
            await asyncio.sleep(0.005)
    await asyncio.sleep(1.5 * BATCH_SECONDS)
    assert written.batches[1:] == [([1, 2, 3, 4, 5], False)]
    stream.send(DELTA)
    assert written.batches[2:] == [([6], False)], "after a pause nothing waits"


async def test_a_terminal_frame_ends_the_reply_with_everything_held() -> None:
    written = Written()
    stream = ReplyStream(written)
    for kind in (FrameKind.ACCEPTED, FrameKind.DELTA, FrameKind.FINAL, FrameKind.DELTA):
        stream.send(ReplyFrame(kind=kind))
    stream.finish()
    assert written.batches == [([0], False), ([1, 2], True)] and stream.ended


async def test_a_reply_without_one_is_closed_as_it_is() -> None:
    written = Written()
    stream = ReplyStream(written)
    stream.send(DELTA)
    stream.send(DELTA)
    stream.finish()
    stream.finish()
    assert written.batches == [([0], False), ([1], True)]


async def test_nothing_is_written_for_nobody() -> None:
    written = Written()
    stream = ReplyStream(written)
    stream.send(DELTA)
    stream.send(DELTA)
    stream.abandon()
    stream.send(DELTA)
    stream.finish()
    await asyncio.sleep(2 * BATCH_SECONDS)
    assert written.batches == [([0], False)]
