"""Relays that hang break no link and say nothing: requests and answers over them go on all the same, in virtual time."""

import asyncio

import pytest

from evals.adversary.behaviour import Altered
from evals.adversary.loop import LoopClock, virtually
from evals.adversary.network import VirtualNetwork
from evals.adversary.shells import real_model, real_user, script
from network.inference import FrameKind, ReplyFrame

FRAMES = [
    (0.0, ReplyFrame(kind=FrameKind.ACCEPTED)),
    *((1.0 * count, ReplyFrame(kind=FrameKind.DELTA, payload=b"word ")) for count in range(1, 31)),
    (31.0, ReplyFrame(kind=FrameKind.FINAL)),
]
HANGING = Altered(incoming=lambda link, raw: (), outgoing=lambda link, raw: ())


@pytest.mark.parametrize(("seed", "count", "after"), [(3, 5, 0.0), (0, 3, 6.0), (1, 3, 6.0)])
def test_relays_hang_before_or_in_the_middle_of_an_answer(seed: int, count: int, after: float) -> None:
    async def main(clock: LoopClock) -> None:
        network = VirtualNetwork(seed=seed, relays=18, clock=clock)
        user, model = real_user(network), real_model(network, script(FRAMES))
        await user.node.start()
        assert await user.node.wait_ready(30)
        guards = {guard.name for guard in user.node.guards()}
        asking = asyncio.ensure_future(user.ask(b"hello", model.entry)) if after else None
        await asyncio.sleep(after)
        for name in sorted(network.relays.keys() - guards)[:count]:
            network.relays[name].behave(HANGING)
        found = await (asking or user.ask(b"hello", model.entry))
        assert found.whole and found.text == b"word " * 30, found.error
        await user.node.close()

    virtually(main)
