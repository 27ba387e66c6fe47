"""Tells the group how busy this node's engine is: when that changes, and while it is busy; never while it idles.

An engine that says nothing, or what no engine can have measured, is known by what this node gave it.
"""

import asyncio
import logging

from serving_node.admission import Admission
from serving_node.aio.mind import Mind
from serving_node.engine import Engine
from serving_node.failure import ServeError
from serving_node.generation import EngineSample

log = logging.getLogger(__name__)

PAUSE_S = 1.0


class LoadFeed:
    """One engine's figures on their way to the group. `changed` is set whenever a request comes or goes."""

    def __init__(self, engine: Engine, admission: Admission, mind: Mind, changed: asyncio.Event, cache_tokens: int) -> None:
        self._engine = engine
        self._admission = admission
        self._mind = mind
        self._changed = changed
        self._cache_tokens = cache_tokens

    async def run(self) -> None:
        """Follow the engine until cancelled."""
        while True:
            if not self._admission.running:
                await self._changed.wait()
            self._changed.clear()
            self.tell(await self._sample())
            await asyncio.sleep(PAUSE_S)

    def tell(self, sample: EngineSample) -> None:
        """Tell what the engine says, or else our own counts."""
        if not self._mind.set_load(self._admission.load(sample, self._cache_tokens)):
            self._mind.set_load(self._admission.load(EngineSample(), self._cache_tokens))

    async def _sample(self) -> EngineSample:
        try:
            return await self._engine.sample()
        except ServeError as error:
            log.warning("the engine's figures could not be read", extra={"fields": {"reason": error.message}})
        except (ValueError, OverflowError) as error:
            self._mind.observe_absurd_sample()
            log.warning("the engine's figures are none; our own counts stand", extra={"fields": {"reason": error}})
        return EngineSample()
