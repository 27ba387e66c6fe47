"""The real user node and the real clove server carry prompts over virtual wires, in virtual time."""

import asyncio
import time

from evals.adversary.loop import LoopClock, virtually
from evals.adversary.network import VirtualNetwork, seeded_delays
from evals.adversary.shells import real_model, real_user, script
from network.inference import FrameKind, ReplyFrame

FRAMES = [
    (0.0, ReplyFrame(kind=FrameKind.ACCEPTED)),
    *((5.0 * count, ReplyFrame(kind=FrameKind.DELTA, payload=b"word ")) for count in range(1, 9)),
    (41.0, ReplyFrame(kind=FrameKind.FINAL)),
]


def test_a_long_answer_takes_no_time() -> None:
    async def main(clock: LoopClock) -> float:
        network = VirtualNetwork(seed=1, relays=14, clock=clock, delay=seeded_delays(1))
        user, model = real_user(network), real_model(network, script(FRAMES))
        await user.node.start()
        assert await user.node.wait_ready(30)
        started = clock.now
        found = await user.ask(b"hello", model.entry)
        assert found.whole and found.text == b"word " * 8, (found.error, found.frames)
        spent = clock.now - started
        await user.node.close()
        await asyncio.sleep(1)
        assert network.open_circuits() == 0
        return spent

    started = time.process_time()
    assert 41 < virtually(main) < 60
    assert time.process_time() - started < 20


def test_a_relay_that_dies_in_mid_answer_costs_nothing() -> None:
    async def main(clock: LoopClock) -> None:
        network = VirtualNetwork(seed=2, relays=14, clock=clock)
        user, model = real_user(network), real_model(network, script(FRAMES))
        await user.node.start()
        assert await user.node.wait_ready(30)
        asking = asyncio.ensure_future(user.ask(b"hello", model.entry))
        await asyncio.sleep(12)
        network.kill("r04")
        found = await asking
        assert found.whole, found.error
        await user.node.close()

    virtually(main)
