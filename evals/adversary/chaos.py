"""Hours of misfortune in seconds: relays that die, come back, drop, delay, alter and repeat, while users ask; by one seed.

`python -m evals.adversary.chaos [--seeds N] [--minutes M] [--output json]` prints what became of the prompts, and fails when
one never ended, when an answer was wrong, or when anything is left in a table after everybody has gone.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import partial

from evals.adversary.behaviour import Altered, Behaviour, Later
from evals.adversary.loop import LoopClock, virtually
from evals.adversary.network import VirtualNetwork, seeded_delays
from evals.adversary.shells import RealModel, RealUser, real_model, real_user
from network.geometry import GEOMETRY
from network.inference import FrameKind, ReplyFrame
from network.modes import Mode
from serving_node.aio.clove_server import ReplyStream

RELAYS, USERS = 30, 3
PATIENCE = 600.0  # virtual seconds after which a prompt has not ended and never will
AT_REST = 4_000.0  # longer than the hardest expiry


@dataclass
class Found:
    """What one run came to."""

    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    misfortunes: Counter[str] = field(default_factory=Counter)
    left_over: dict[str, int] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """What must not be."""
        wrong = [
            f"seed {self.seed}: {name}: {self.outcomes[name]}"
            for name in ("never ended", "wrong answer")
            if self.outcomes[name]
        ]
        return wrong + [f"seed {self.seed}: left over: {name} {count}" for name, count in self.left_over.items() if count]


def run(seed: int, minutes: float) -> Found:
    """One run."""
    return virtually(lambda clock: _Chaos(seed, clock).run(60.0 * minutes))


class _Chaos:
    """One network and what happens to it."""

    def __init__(self, seed: int, clock: LoopClock) -> None:
        self._draw = random.Random(f"chaos/{seed}")
        self._clock = clock
        self._network = VirtualNetwork(seed, relays=RELAYS, clock=clock, delay=seeded_delays(seed))
        self._model: RealModel = real_model(self._network, self._answer)
        self._users: list[RealUser] = [real_user(self._network) for _ in range(USERS)]
        self.found = Found(seed)

    async def run(self, seconds: float) -> Found:
        """Ask and suffer for so long, then look at what is left when all have gone."""
        for user in self._users:
            await user.node.start()
            await user.node.wait_ready(60)
        until = self._clock.now + seconds
        suffering = asyncio.ensure_future(self._suffer(until))
        await asyncio.gather(*(self._ask_on(user, until) for user in self._users))
        await suffering
        for user in self._users:
            await user.node.close()
        await asyncio.sleep(AT_REST)
        status = [user.node.status() for user in self._users]
        self.found.left_over = {
            "circuits in relays": self._network.open_circuits(),
            "circuits of users": sum(each.circuits_open for each in status),
            "sessions of users": sum(each.sessions for each in status),
            "sessions of the model node": self._model.server.sessions,
        }
        return self.found

    async def _answer(self, request: bytes, stream: ReplyStream) -> None:
        stream.send(ReplyFrame(kind=FrameKind.ACCEPTED))
        words, pause = (int(word) for word in request.split()[:2])
        for number in range(words):
            await asyncio.sleep(pause / 1000)
            stream.send(ReplyFrame(kind=FrameKind.DELTA, payload=f"{number} ".encode()))
        stream.send(ReplyFrame(kind=FrameKind.FINAL))

    async def _ask_on(self, user: RealUser, until: float) -> None:
        while self._clock.now < until:
            words, mode = self._draw.randrange(1, 60), self._draw.choice(list(Mode))
            request = f"{words} {self._draw.randrange(10, 300)} ".encode().ljust(self._draw.choice((40, 5_000, 60_000)), b"x")
            asking = asyncio.ensure_future(user.ask(request, self._model.entry, mode=mode))
            impatient = self._draw.random() < 0.1
            done, _ = await asyncio.wait((asking,), timeout=self._draw.uniform(0, 5) if impatient else PATIENCE)
            if not done:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                self.found.outcomes["cancelled by the caller" if impatient else "never ended"] += 1
                continue
            reply = asking.result()
            expected = b"".join(f"{number} ".encode() for number in range(words))
            if reply.error is not None:
                self.found.outcomes[type(reply.error).__name__] += 1
            else:
                self.found.outcomes["answered" if reply.whole and reply.text == expected else "wrong answer"] += 1
            await asyncio.sleep(self._draw.expovariate(1 / 5))

    async def _suffer(self, until: float) -> None:
        """One misfortune after the other, each on a relay that is well, each over after a while."""
        while self._clock.now < until:
            await asyncio.sleep(self._draw.expovariate(1 / 6))
            name = self._draw.choice(list(self._network.relays))
            kind = self._draw.choice(("dies", "drops", "delays", "alters", "repeats"))
            well = type(self._network.relays[name].behaviour) is Behaviour and name not in self._network.down
            if not well or len(self._network.down) >= RELAYS - 2 * GEOMETRY.n * GEOMETRY.hops:
                continue
            self.found.misfortunes[kind] += 1
            if kind == "dies":
                self._network.kill(name)
            else:
                self._network.relays[name].behave(self._malice(kind))
            self._clock.after(self._draw.expovariate(1 / 40), partial(self._network.revive, name))

    def _malice(self, kind: str) -> Behaviour:
        draw = self._draw
        if kind == "drops":
            return Altered(outgoing=lambda link, raw: [] if draw.random() < 0.3 else [raw])
        if kind == "delays":
            return Altered(incoming=lambda link, raw: [Later(draw.uniform(0, 4), raw)])
        if kind == "repeats":
            return Altered(outgoing=lambda link, raw: [raw, raw] if draw.random() < 0.2 else [raw])
        return Altered(outgoing=lambda link, raw: [_bent(raw, draw) if draw.random() < 0.1 else raw])


def _bent(raw: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(raw))
    return raw[:at] + bytes((raw[at] ^ 1 << draw.randrange(8),)) + raw[at + 1 :]


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m evals.adversary.chaos", description="Let misfortunes happen.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    all_found = [run(seed, options.minutes) for seed in range(options.first, options.first + options.seeds)]
    if options.output == "json":
        print(
            json.dumps({"name": "chaos", "minutes": options.minutes, "runs": [asdict(found) for found in all_found]}, indent=2)
        )
    else:
        total: Counter[str] = sum((found.outcomes for found in all_found), Counter())
        suffered: Counter[str] = sum((found.misfortunes for found in all_found), Counter())
        print(f"{options.seeds} runs of {options.minutes:g} virtual minutes: {dict(total)}; misfortunes: {dict(suffered)}")
    faults = [fault for found in all_found for fault in found.faults]
    print("\n".join(faults), file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
