"""Relays that die, hang and return while a user asks: real processes on loopback, no chain.

`python -m evals.overlay.churn --rounds 6 --output json`: in every round one relay of 16 (or `--at-once N`) is killed or
frozen, turn and turn about, while answers of some seconds are under way; the directory goes on listing it, so only gossip
and failures tell.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from statistics import median

from evals.overlay.processes import Member, ProcessOverlay, overlay_of
from evals.report import Row, missed, row, show
from network.aio.user_node import UserNode
from network.errors import PlanetServeError
from network.ids import Role
from network.inference import FrameKind

PATIENCE = 120.0
STEP = 0.05
ANSWERS = 4  # under way at once when a relay goes
FRAMES, PAUSE_MS = 60, 100
SETTLE_SECONDS = 4.0
IDLE_SECONDS = 20.0
OUT_GOAL_S = 20.0  # five periods of patience, and the periods that the last heartbeat and the user's next pull take


@dataclass
class Observed:
    """Seconds, and answers, of all rounds."""

    out: dict[str, list[float]] = field(default_factory=lambda: {"killed": [], "frozen": []})
    back: list[float] = field(default_factory=list)
    first_frame: list[float] = field(default_factory=list)
    joined: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    known: list[float] = field(default_factory=list)
    listed: list[float] = field(default_factory=list)
    asked: int = 0
    whole_answers: int = 0
    errors: list[str] = field(default_factory=list)


async def until(check: Callable[[], bool]) -> float:
    """Seconds until `check` holds."""
    started = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        while not check():
            await asyncio.sleep(STEP)
    return time.monotonic() - started


async def asked(user: UserNode, overlay: ProcessOverlay, seen: Observed, frames: int) -> float:
    """Ask for an answer of so many frames; the seconds to its first."""
    request = f"count {frames} {PAUSE_MS}".encode()
    started, first, got = time.monotonic(), 0.0, 0
    seen.asked += 1
    try:
        async with aclosing(user.ask(request, overlay.models[0].entry)) as reply:
            async for frame in reply:
                first = first or time.monotonic() - started
                got += frame.kind == FrameKind.DELTA
    except PlanetServeError as error:
        seen.errors.append(type(error).__name__)
        return first
    seen.whole_answers += got == frames
    return first


async def one_round(user: UserNode, overlay: ProcessOverlay, victims: list[Member], how: str, seen: Observed) -> None:
    """Some relays go at once, and return."""
    await until(lambda: all(user.usable(each.entry) for each in overlay.relays) and user.status().path_sets_ready >= 2)
    answers = [asyncio.create_task(asked(user, overlay, seen, FRAMES)) for _ in range(ANSWERS)]
    await asyncio.sleep(1.0)
    for victim in victims:
        if how == "killed":
            await victim.kill()
        else:
            victim.process.send_signal(signal.SIGSTOP)
    out = asyncio.create_task(until(lambda: not any(user.usable(victim.entry) for victim in victims)))
    seen.first_frame.append(await asked(user, overlay, seen, 1))
    seen.out[how].append(await out)
    await asyncio.gather(*answers)
    for victim in victims:
        if how == "killed":
            await overlay.restart(victim)
        else:
            victim.process.send_signal(signal.SIGCONT)
    seen.back.append(await until(lambda: all(user.usable(victim.entry) for victim in victims)))


async def idles(overlay: ProcessOverlay, seen: Observed) -> None:
    """What relays cost that do nothing but gossip and hold two ready path sets of one user."""
    before = [(await relay.status())["cpu_s"] for relay in overlay.relays]
    await asyncio.sleep(IDLE_SECONDS)
    after = [(await relay.status())["cpu_s"] for relay in overlay.relays]
    seen.idle = [100 * (end - begin) / IDLE_SECONDS for begin, end in zip(before, after, strict=True)]


async def comes(user: UserNode, overlay: ProcessOverlay, seen: Observed) -> None:
    """A relay comes: all others know it before the directory lists it, and users hear of it once it does."""
    heard = int(user.status().gossip["heard"] or 0)
    others, newcomer = overlay.relays.copy(), await overlay.add(Role.RELAY, "newcomer")
    overlay.tell(newcomer)
    started = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        while not all([(await each.status())["gossip"]["newcomers"] for each in others]):
            await asyncio.sleep(STEP)
    seen.known.append(time.monotonic() - started)
    assert user.status().gossip["heard"] == heard, "a user knows only who is listed"
    await overlay.publish()
    seen.listed.append(await until(lambda: int(user.status().gossip["heard"] or 0) > heard))


async def joins(overlay: ProcessOverlay, seen: Observed) -> None:
    """A user comes, asks, and leaves."""
    started = time.monotonic()
    user = UserNode(overlay.directory, os.urandom)
    await user.start()
    try:
        if await user.wait_ready(PATIENCE):
            seen.joined.append(time.monotonic() - started)
        await asked(user, overlay, seen, 1)
    finally:
        await user.close()


async def measure(relays: int, rounds: int, at_once: int, draw: random.Random) -> Observed:
    """All rounds over one overlay."""
    seen = Observed()
    async with overlay_of(relays) as overlay:
        await joins(overlay, seen)
        user = UserNode(overlay.directory, os.urandom)
        await user.start()
        try:
            everybody = relays + len(overlay.models)
            await until(lambda: int(user.status().gossip["heard"] or 0) == everybody)
            await idles(overlay, seen)
            await comes(user, overlay, seen)
            for number in range(rounds):
                await asyncio.sleep(SETTLE_SECONDS)
                await one_round(user, overlay, draw.sample(overlay.relays, at_once), ("killed", "frozen")[number % 2], seen)
        finally:
            await user.close()
        await joins(overlay, seen)
    return seen


def rows(seen: Observed) -> list[Row]:
    """What the rounds came to."""
    found = [
        row(f"out_of_new_paths.{how}", median(times), "s", at_most=OUT_GOAL_S, samples=times)
        for how, times in seen.out.items()
        if times
    ]
    return [
        *found,
        row("back_in_new_paths", median(seen.back), "s", samples=seen.back),
        row("first_frame_after_a_death", median(seen.first_frame), "s", samples=seen.first_frame),
        row("user_joins_to_first_path_set", median(seen.joined), "s", samples=seen.joined),
        row("idle_relay_cpu", median(seen.idle), "%", samples=seen.idle),
        row("newcomer_known_to_all_relays", median(seen.known), "s", samples=seen.known),
        row("listed_newcomer_heard_by_user", median(seen.listed), "s", samples=seen.listed),
        row("answers", seen.asked, ""),
        row("answers_whole", seen.whole_answers / seen.asked, "share", at_least=1.0),
    ]


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--relays", type=int, default=16)
    parser.add_argument("--at-once", type=int, default=1, help="relays that go together; twelve families must be left")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    seen = asyncio.run(measure(arguments.relays, arguments.rounds, arguments.at_once, random.Random(arguments.seed)))
    found = rows(seen)
    show("churn", found, arguments.output)
    if seen.errors:
        print(f"answers that failed: {', '.join(seen.errors)}", file=sys.stderr)
    return int(missed(found))


if __name__ == "__main__":
    sys.exit(main())
