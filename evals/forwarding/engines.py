"""A model node's engine as arithmetic: a prefix cache of 512-token blocks, prefill one prompt after another, decode in a batch.

Cache: least recently used block out first; a prompt's blocks are touched from its last to its first when it starts and when
it ends, so that leaves go before what they hang on. Prefill: first in, first out, at a price per uncached token. Decode: every
sequence of the batch takes one token per step, and a step takes longer the fuller the batch. Prefill and decode do not slow
one another, and running sequences pin no memory: both are left out on purpose, and said in `evals/forwarding/README.md`.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from evals.forwarding.traces import Request, prefix_tokens


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds: of a prefill (constant, per uncached token, per its square), of a decode step (constant, per sequence).

    A prompt is read in pieces of `chunk_tokens`, each paid as a prefill of its own. `step_fill_s` and `step_fill2_s` are what
    a step takes more with the share of the cache that running prompts fill, and with its square. `extra_s` is added to every
    prefill and `factor` multiplies everything: the switch for confidential computing.
    """

    prefill_s: float = 0.0
    token_s: float = 50e-6
    square_s: float = 0.0
    chunk_tokens: int = 2**24
    step_s: float = 0.008
    step_sequence_s: float = 0.0002
    step_fill_s: float = 0.0
    step_fill2_s: float = 0.0
    extra_s: float = 0.0
    factor: float = 1.0

    def prefill(self, uncached: int) -> float:
        """Seconds to read `uncached` tokens."""
        whole, rest = divmod(uncached, self.chunk_tokens)
        return (whole * self._piece(self.chunk_tokens) + (self._piece(rest) if rest else 0.0)) * self.factor + self.extra_s

    def step(self, sequences: int, fill: float) -> float:
        """Seconds of one token of every sequence."""
        more = sequences * self.step_sequence_s + fill * (self.step_fill_s + fill * self.step_fill2_s)
        return (self.step_s + more) * self.factor

    def _piece(self, tokens: int) -> float:
        return self.prefill_s + tokens * (self.token_s + tokens * self.square_s)


@dataclass(eq=False, slots=True)
class Job:
    """One prompt in one engine: what happened to it and when."""

    request: Request
    cached_tokens: int = 0
    ever_held_tokens: int = 0
    first_at: float = 0.0


class Engine:
    """Says when something happens next; `advance` makes it happen. Owns no clock."""

    def __init__(self, speed: Speed, cache_blocks: int) -> None:
        self.speed = speed
        self.cache_blocks = cache_blocks
        self.prefilled_tokens = 0
        self.prefill_busy_s = 0.0
        self._cache: OrderedDict[int, None] = OrderedDict()
        self._ever: set[int] = set()
        self._queue: deque[Job] = deque()
        self._reading: tuple[float, Job] | None = None
        # Decoding: `_work` is tokens that a sequence in the batch since the start would have; each ends at its own mark.
        self._batch: list[tuple[float, int, Job]] = []
        self._batch_tokens = 0
        self._work = 0.0
        self._at = 0.0
        self._number = 0

    def cached(self, request: Request) -> int:
        """Leading prompt tokens in the cache now."""
        return prefix_tokens(request, self._cache.__contains__)

    def ever_held(self, request: Request) -> int:
        """Leading prompt tokens that have been in the cache at some time."""
        return prefix_tokens(request, self._ever.__contains__)

    @property
    def decoding(self) -> int:
        """Sequences in the batch."""
        return len(self._batch)

    @property
    def reading(self) -> int:
        """Prompts being read or waiting for it."""
        return len(self._queue) + (self._reading is not None)

    def queued(self, now: float) -> tuple[int, float]:
        """What an all-knowing router would see: uncached tokens before a new prompt, and seconds until it would be read."""
        tokens, seconds = 0, 0.0
        if self._reading is not None:
            ends, job = self._reading
            tokens, seconds = job.request.prompt_tokens - job.cached_tokens, max(0.0, ends - now)
        for job in self._queue:
            uncached = job.request.prompt_tokens - self.cached(job.request)
            tokens, seconds = tokens + uncached, seconds + self.speed.prefill(uncached)
        return tokens, seconds

    def add(self, request: Request, now: float) -> Job:
        """A prompt joins the queue."""
        job = Job(request)
        self._settle(now)
        self._queue.append(job)
        self._read(now)
        return job

    def next_at(self) -> float | None:
        """When the engine has something to tell next."""
        ends = [self._reading[0]] if self._reading else []
        if self._batch:
            ends.append(self._at + max(0.0, self._batch[0][0] - self._work) * self._step())
        return min(ends, default=None)

    def advance(self, now: float) -> tuple[list[Job], list[Job]]:
        """Jobs that gave their first token, and jobs that ended, up to and including `now`."""
        first: list[Job] = []
        ended: list[Job] = []
        while (at := self.next_at()) is not None and at <= now:
            self._settle(at)
            if self._reading and self._reading[0] <= at:
                job = self._reading[1]
                self._reading = None
                job.first_at = at
                first.append(job)
                self._decode(job, ended)
                self._read(at)
            else:
                _, _, job = heappop(self._batch)
                self._batch_tokens -= job.request.prompt_tokens
                self._end(job, ended)
        self._settle(now)
        return first, ended

    def _step(self) -> float:
        fill = min(1.0, self._batch_tokens / (self.cache_blocks * 512)) if self.cache_blocks else 0.0
        return self.speed.step(len(self._batch), fill)

    def _settle(self, now: float) -> None:
        if self._batch:
            self._work += (now - self._at) / self._step()
            self._work = min(self._work, self._batch[0][0])
        self._at = now

    def _read(self, now: float) -> None:
        if self._reading is None and self._queue:
            job = self._queue.popleft()
            job.cached_tokens = min(self.cached(job.request), job.request.prompt_tokens - 1)
            job.ever_held_tokens = self.ever_held(job.request)
            uncached = job.request.prompt_tokens - job.cached_tokens
            seconds = self.speed.prefill(uncached)
            self.prefilled_tokens += uncached
            self.prefill_busy_s += seconds
            self._reading = (now + seconds, job)
            self._touch(job.request.blocks)

    def _decode(self, job: Job, ended: list[Job]) -> None:
        if job.request.output_tokens <= 1:
            self._end(job, ended)
            return
        self._number += 1
        heappush(self._batch, (self._work + job.request.output_tokens - 1, self._number, job))
        self._batch_tokens += job.request.prompt_tokens

    def _end(self, job: Job, ended: list[Job]) -> None:
        self._touch(job.request.blocks)
        ended.append(job)

    def _touch(self, blocks: Sequence[int]) -> None:
        self._ever.update(blocks)
        for block in reversed(blocks[: self.cache_blocks]):
            self._cache[block] = None
            self._cache.move_to_end(block)
        while len(self._cache) > self.cache_blocks:
            self._cache.popitem(last=False)
