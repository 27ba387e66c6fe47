"""The embedded engine: a llama.cpp server of our own as child process, on a loopback address only we hold the key to."""

import asyncio
import json
import logging
import secrets
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable

from serving_node.aio.child import ChildProcess
from serving_node.aio.engine_http import EngineHttp
from serving_node.aio.llama import LlamaApi
from serving_node.asked import Asked
from serving_node.config import EngineConfig
from serving_node.engine import EngineStartError
from serving_node.generation import EngineSample, GenerationEvent, Job

log = logging.getLogger(__name__)

START_S = 120.0
RESTART_FIRST_S, RESTART_MOST_S = 0.5, 30.0
STABLE_S = 60.0


class EmbeddedEngine:
    """llama.cpp under our roof: started, watched, restarted when it dies, ended with us."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._api_key = secrets.token_hex(16)
        self._http = EngineHttp(f"http://{config.address}", self._api_key)
        self._api = LlamaApi(self._http)
        self._child = ChildProcess([])
        self._watch: asyncio.Task[None] | None = None
        self._healthy = False
        self.on_restart: Callable[[], None] = lambda: None

    @property
    def healthy(self) -> bool:
        """Whether the engine is up."""
        return self._healthy

    @property
    def salts(self) -> bool:
        """llama.cpp compares token ids alone."""
        return False

    async def start(self) -> None:
        """Load the model and wait until it answers. Raises EngineStartError."""
        if not self._config.model_path.is_file():
            raise EngineStartError(
                f"the model file {self._config.model_path} does not exist; run `python -m serving_node.models f16`, "
                "or set engine.model_path to a GGUF file"
            )
        _check_free(self._config.address.host, self._config.address.port)
        await self._http.open()
        await self._launch()
        self._watch = asyncio.create_task(self._keep_up(), name="engine-watch")

    async def close(self) -> None:
        """End the engine."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._healthy = False
        await self._child.close()
        await self._http.close()

    async def render(self, asked: Asked) -> tuple[int, ...]:
        """The prompt's token ids."""
        return await self._api.render(asked)

    def generate(self, job: Job) -> AsyncGenerator[GenerationEvent, None]:
        """Stream one answer; closing the generator stops the engine's work."""
        return self._api.generate(job)

    async def sample(self) -> EngineSample:
        """The engine's own counters."""
        return await self._api.sample()

    async def _launch(self) -> None:
        config = self._config
        self._child = ChildProcess([sys.executable, "-m", "serving_node.aio.llama_child"])
        settings = {
            "model_path": str(config.model_path),
            "host": config.address.host,
            "port": config.address.port,
            "api_key": self._api_key,
            "context": config.context,
            "slots": config.slots,
            "threads": config.threads,
        }
        await self._child.start(json.dumps(settings).encode() + b"\n")
        try:
            async with asyncio.timeout(START_S):
                said = await self._child.first_line()
        except TimeoutError:
            said = b""
        reason = json.loads(said).get("error") if said else self._child.last_words() or "it said nothing"
        if reason is not None or not await self._http.answers("/health"):
            await self._child.close()
            raise EngineStartError(
                f"the engine could not load {config.model_path}: {reason or 'it does not answer'}. "
                "Is it a whole GGUF file, and is there memory for it?"
            )
        self._healthy = True

    async def _keep_up(self) -> None:
        """Start the engine again whenever it dies; slower when it keeps dying."""
        pause = RESTART_FIRST_S
        while True:
            since = time.monotonic()
            code = await self._child.wait()
            self._healthy = False
            log.error("the engine died; it is started again", extra={"fields": {"exit_code": code, "pause_s": pause}})
            pause = RESTART_FIRST_S if time.monotonic() - since > STABLE_S else min(pause * 2, RESTART_MOST_S)
            while not self._healthy:
                await asyncio.sleep(pause)
                try:
                    await self._launch()
                    self.on_restart()
                except EngineStartError as error:
                    pause = min(pause * 2, RESTART_MOST_S)
                    log.error("the engine does not start", extra={"fields": {"reason": error, "again_in_s": pause}})


def _check_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise EngineStartError(
                f"engine.address {host}:{port} cannot be used: {error.strerror}. Stop its user, or choose another port."
            ) from error
