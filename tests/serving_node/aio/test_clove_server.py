"""Reply streams: numbered, ended once; the rest of the server is driven by the overlay's end-to-end tests."""

from network.inference import FrameKind, ReplyFrame
from serving_node.aio.clove_server import ReplyStream

DELTA = ReplyFrame(kind=FrameKind.DELTA, payload=b"x")


class Written:
    """What a stream wrote: the sequence numbers of each batch, and whether it was the last."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[int], bool]] = []

    def __call__(self, frames: list[ReplyFrame], end: bool) -> None:
        self.batches.append(([frame.sequence for frame in frames], end))


def test_frames_are_numbered_and_a_terminal_one_ends_the_reply() -> None:
    written = Written()
    stream = ReplyStream(written)
    for kind in (FrameKind.ACCEPTED, FrameKind.DELTA, FrameKind.FINAL, FrameKind.DELTA):
        stream.send(ReplyFrame(kind=kind))
    stream.finish()
    assert written.batches == [([0], False), ([1], False), ([2], True)] and stream.ended


def test_a_reply_without_one_is_closed_as_it_is() -> None:
    written = Written()
    stream = ReplyStream(written)
    stream.send(DELTA)
    stream.finish()
    stream.finish()
    assert written.batches == [([0], False), ([], True)]


def test_nothing_is_written_for_nobody() -> None:
    written = Written()
    stream = ReplyStream(written)
    stream.send(DELTA)
    stream.abandon()
    stream.send(DELTA)
    stream.finish()
    assert written.batches == [([0], False)]
