"""What the group hears of an engine that says nothing, nonsense, or too much."""

import asyncio
from typing import Any

import pytest

from serving_node.aio import load_feed
from serving_node.aio.load_feed import LoadFeed
from serving_node.failure import ENGINE_FAILED, ServeError
from serving_node.generation import EngineSample


class Scripted:
    """An engine whose samples are what a test says."""

    def __init__(self, *samples: EngineSample | Exception) -> None:
        self.samples = list(samples)

    async def sample(self) -> EngineSample:
        sample = self.samples.pop(0)
        if isinstance(sample, Exception):
            raise sample
        return sample


@pytest.mark.parametrize(
    ("said", "absurd"),
    [
        (ServeError(ENGINE_FAILED, "no metrics here"), 0),
        (ValueError("cannot convert float NaN to integer"), 1),
        (OverflowError("cannot convert float infinity to integer"), 1),
        (EngineSample(running=10**30), 1),
        (EngineSample(waiting=-5, prefill_tokens_per_s=float("nan")), 1),
        (EngineSample(prefill_tokens_per_s=float("inf")), 1),
    ],
)
async def test_our_own_counts_stand_in(net: Any, monkeypatch: Any, said: EngineSample | Exception, absurd: int) -> None:
    monkeypatch.setattr(load_feed, "PAUSE_S", 0.0)
    node = await net.add()
    admission, changed = node.answering.admission, asyncio.Event()
    admission.admit(300, 0.0, 99.0)
    admission.start_next(0.0)
    engine = Scripted(said, EngineSample(prefill_tokens_per_s=150.0))
    feed: Any = LoadFeed(engine, admission, node.group, changed, 512)  # type: ignore[arg-type]
    with pytest.raises(IndexError):  # the script is over
        await feed.run()
    beliefs = node.group.forwarder.beliefs
    assert beliefs.absurd_samples == absurd
    told = beliefs.own_report()
    assert (told.running, told.queued_tokens, told.capacity_milli) == (1, 300, 150_000)


async def test_absurd_figures_alone_leave_our_own_counts(net: Any) -> None:
    node = await net.add()
    node.answering.admission.admit(300, 0.0, 99.0)
    feed = LoadFeed(node.engine, node.answering.admission, node.group, asyncio.Event(), 512)
    feed.tell(EngineSample(running=-3, waiting=2**70))
    assert node.group.forwarder.beliefs.own_report().waiting == 1
