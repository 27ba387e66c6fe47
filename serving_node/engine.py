"""The engine interface: everything a sidecar asks of whatever runs the model.

Errors are `ServeError`s: `invalid_request` and `context_length_exceeded` when the engine blames the request,
`engine_failed` when it is the engine's fault. Closing the iterator of `generate` stops the engine's work on it.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from network.errors import PlanetServeError
from serving_node.asked import Asked
from serving_node.generation import EngineSample, GenerationEvent, Job


class EngineStartError(PlanetServeError):
    """The engine cannot be brought up; says what failed, why, and what to do."""


class Engine(Protocol):
    """One model, loaded and ready, over HTTP on this machine or another.

    `on_restart` is called when it has come back after it died: whatever it had cached is gone.
    """

    on_restart: Callable[[], None]

    @property
    def healthy(self) -> bool:
        """Whether the engine answered when it was last asked."""

    @property
    def salts(self) -> bool:
        """Whether its cache can be kept apart by salts; where not, a salted prompt has to be an unshared one."""

    async def start(self) -> None:
        """Bring the engine up; returns once it answers. Raises EngineStartError with the reason and what to do."""

    async def close(self) -> None:
        """Stop what `start` started."""

    async def render(self, asked: Asked) -> tuple[int, ...]:
        """The prompt's token ids: template applied, special tokens parsed."""

    def generate(self, job: Job) -> AsyncGenerator[GenerationEvent, None]:
        """Stream one answer: Prefilled and Piece events, and one Ended at the end."""

    async def sample(self) -> EngineSample:
        """The engine's own load figures."""
