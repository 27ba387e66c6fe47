"""A relay's core under ten times the set-ups that it can do: what the puzzle leaves for honest users.

Virtual seconds at a tenth of a relay's size. The relay is one that can do `CAPACITY` set-ups a second and no more: its
second has as much CPU time as these take, measured all through the flood. Where a second of flood takes more, the relay serves
what fits and the rest waits in vain, honest and hostile alike.
"""

import os
import random
import time
from dataclasses import dataclass

from evals.overlay.messages import NOW
from evals.overlay.relays import Chain, accepted, fresh_set_ups, last_cell
from evals.report import Row, row
from network.cell import CellKind, DestroyReason, decode_cell, decode_destroy, encode_cell
from network.events import FrameArrived
from network.geometry import GEOMETRY
from network.handshake import UserHandshake
from network.puzzle import solve
from relay.core import RelayCore
from relay.limits import Limits

CAPACITY = 800  # set-ups a second: a tenth of what a relay is to manage
FLOOD = 10 * CAPACITY
HONEST = CAPACITY // 10
WARM_UP, MEASURED = 1.0, 0.5  # virtual seconds
FLOODERS = 64
COMPARE_EVERY = 60
MOST_TRIES = 1 << 22
WITH = Limits(creates_per_second=CAPACITY)
WITHOUT = Limits(creates_per_second=2**40, creates_per_second_per_link=2**40, creates_burst_per_link=2**40)


@dataclass
class Tally:
    """What one flood came to."""

    cpu: float = 0.0
    accepting: float = 0.0  # CPU seconds of `compared` set-ups that a relay with nothing else to do accepts
    compared: int = 0
    asked: int = 0
    accepted: int = 0
    user_cpu: float = 0.0

    @property
    def budget(self) -> float:
        """CPU seconds that the relay has."""
        return MEASURED * CAPACITY * self.accepting / self.compared

    @property
    def busy(self) -> float:
        """Percent of the relay's time that the flood takes."""
        return 100.0 * self.cpu / self.budget

    @property
    def success(self) -> float:
        """Percent of honest set-ups that are done in time."""
        return 100.0 * min(1.0, self.budget / self.cpu) * self.accepted / self.asked


def flood(draw: random.Random) -> list[Row]:
    """Honest success with and without the puzzle, and what each costs."""
    guarded, bare = _flooded(draw, WITH), _flooded(draw, WITHOUT)
    text = "the same flood without the puzzle"
    solving = 1e3 * guarded.user_cpu / guarded.asked
    return [
        row("flood_honest_success", guarded.success, "%", baseline=text, baseline_value=bare.success, at_least=95.0),
        row("flood_relay_busy", guarded.busy, "%", baseline=text, baseline_value=bare.busy),
        row("flood_puzzle_solved", solving, "ms"),
    ]


def _flooded(draw: random.Random, limits: Limits) -> Tally:
    """Ten times the capacity over many links, and a few users who solve what they are asked for, on links of their own."""
    chain, tally = Chain(draw), Tally()
    idle = [each for _ in range(3) for each in fresh_set_ups(chain)]
    core = chain.fresh_core(limits=limits)
    flooders = [core.new_link() for _ in range(FLOODERS)]
    every = FLOOD // HONEST
    for number in range(int((WARM_UP + MEASURED) * FLOOD)):
        now, counted = NOW + number / FLOOD, number >= WARM_UP * FLOOD
        body = draw.randbytes(GEOMETRY.cell_body)  # what costs a flooder least
        frame = encode_cell(draw.randbytes(8), CellKind.CREATE, body)
        started = time.thread_time()
        core.on_event(FrameArrived(flooders[number % FLOODERS], frame), now)
        tally.cpu += counted * (time.thread_time() - started)
        if counted and number % every == 0:
            _honest(chain, core, now, tally)
        if counted and number % COMPARE_EVERY == 0 and idle:
            started = time.thread_time()
            accepted(idle.pop())
            tally.accepting += time.thread_time() - started
            tally.compared += 1
    return tally


def _honest(chain: Chain, core: RelayCore, now: float, tally: Tally) -> None:
    """One user: asks, solves what the relay asks for, asks once more."""
    tally.asked += 1
    handshake = UserHandshake(chain.hops, chain.directory, os.urandom)
    link = core.new_link()
    solutions: list[bytes] = []
    for _ in range(3):
        cell = encode_cell(os.urandom(8), CellKind.CREATE, handshake.create(now, os.urandom, solutions))
        started = time.thread_time()
        commands = core.on_event(FrameArrived(link, cell), now)
        tally.cpu += time.thread_time() - started
        _, kind, body = decode_cell(last_cell(commands).cell)
        reason, effort = decode_destroy(body) if kind is CellKind.DESTROY else (DestroyReason.NONE, 0)
        if kind is CellKind.CREATE:
            tally.accepted += 1
            return
        if reason is not DestroyReason.BUSY or not effort:
            return
        started = time.thread_time()
        solution = solve(handshake.puzzles[0], effort, int.from_bytes(os.urandom(4)), MOST_TRIES)
        tally.user_cpu += time.thread_time() - started
        if solution is None:
            return
        solutions = [solution, *(os.urandom(len(solution)) for _ in chain.hops[1:])]
