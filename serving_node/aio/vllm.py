"""The vLLM engine: a child process in its own environment, or a server that runs elsewhere; spoken to over OpenAI HTTP.

Same duties as the embedded engine: one rendering whose ids are sent and signed, seeds per request, every sampled id, and
its own metrics for the load. vLLM samples with its own noise, so a group served by it is verified under another scheme.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from network.inference import Endpoint, Finish
from serving_node.aio.child import ChildProcess
from serving_node.aio.engine_http import EngineHttp
from serving_node.asked import Asked
from serving_node.config import EngineConfig
from serving_node.engine import EngineStartError
from serving_node.failure import ENGINE_FAILED, ServeError
from serving_node.generation import Ended, EngineSample, GenerationEvent, Job, Piece, Prefilled
from serving_node.llama_events import tool_deltas
from serving_node.sampling import vllm_fields
from serving_node.stops import StopFinder
from serving_node.vllm_events import FINISHES, cache_fields, cached_tokens, engine_sample, logprobs

log = logging.getLogger(__name__)

START_S = 600.0
POLL_S = 0.5
RESTART_S = 10.0


class VllmEngine:
    """vLLM behind the engine interface."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._owned = not config.url
        key = secrets.token_hex(16) if self._owned else ""
        self._api_key = key
        self._http = EngineHttp(config.url or f"http://{config.address}", key)
        self._child = ChildProcess([])
        self._watch: asyncio.Task[None] | None = None
        self._healthy = False
        self.on_restart: Callable[[], None] = lambda: None

    @property
    def healthy(self) -> bool:
        """Whether the server is up."""
        return self._healthy

    @property
    def salts(self) -> bool:
        """vLLM's block hashes take a salt."""
        return True

    async def start(self) -> None:
        """Bring the child up, or find the server that is said to run. Raises EngineStartError."""
        await self._http.open()
        if self._owned:
            await self._launch()
        elif not await self._http.answers("/health"):
            raise EngineStartError(f"engine.url: no vLLM server answers at {self._config.url}/health; start it first")
        self._healthy = True
        self._watch = asyncio.create_task(self._keep_up(), name="engine-watch")

    async def close(self) -> None:
        """End the child, if it is ours."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._healthy = False
        await self._child.close()
        await self._http.close()

    async def render(self, asked: Asked) -> tuple[int, ...]:
        """The prompt's token ids by the model's own template and tokeniser."""
        if not isinstance(asked.prompt, str):
            return asked.prompt
        body: dict[str, object] = {"model": self._config.group}
        if asked.endpoint == Endpoint.CHAT:
            body |= {"messages": list(asked.messages), "add_generation_prompt": True}
            if asked.wants_tools:
                body["tools"] = asked.tools["tools"]
        else:
            body["prompt"] = asked.prompt
        return tuple((await self._http.post("/tokenize", body))["tokens"])

    async def generate(self, job: Job) -> AsyncGenerator[GenerationEvent, None]:
        """Stream one answer; closing the generator stops the engine's work."""
        stream = self._call_tools(job) if job.asked.wants_tools else self._complete(job)
        async with aclosing(stream):
            async for event in stream:
                yield event

    async def sample(self) -> EngineSample:
        """vLLM's own gauges and counters."""
        rows: dict[str, float] = {}
        for family in text_string_to_metric_families(await self._http.get_text("/metrics")):
            for row in family.samples:
                rows[row.name] = rows.get(row.name, 0.0) + row.value
        return engine_sample(rows)

    async def _complete(self, job: Job) -> AsyncGenerator[GenerationEvent, None]:
        ids: list[int] = []
        stops, cached, finish = StopFinder(job.asked.stops), 0, Finish.STOP
        async with aclosing(self._http.events("/v1/completions", self._completion_body(job))) as events:
            async for event in events:
                cached = cached_tokens(event, cached)
                for choice in event.get("choices", ()):
                    if not ids:
                        yield Prefilled(len(job.prompt_ids), cached)
                    ids += choice.get("token_ids") or ()
                    text = stops.feed(choice["text"])
                    if text or choice.get("logprobs"):
                        yield Piece(text, logprobs(choice) if job.asked.logprobs else ())
                    finish = FINISHES.get(choice.get("finish_reason") or "stop", Finish.STOP)
                if stops.found:
                    break
        if not stops.found and (rest := stops.rest()):
            yield Piece(rest)
        yield Ended(Finish.STOP if stops.found else finish, tuple(ids), cached)

    def _completion_body(self, job: Job) -> dict[str, object]:
        body: dict[str, object] = {
            "model": self._config.group,
            "prompt": list(job.prompt_ids),
            "max_tokens": job.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            "return_token_ids": True,
            **vllm_fields(job.sampling, job.seed, job.asked),
        }
        body |= cache_fields(job, secrets.token_bytes)
        if job.asked.logprobs:
            body["logprobs"] = max(1, job.asked.top_logprobs)
        if job.asked.schema is not None:
            body["structured_outputs"] = {"json": job.asked.schema}
        return body

    async def _call_tools(self, job: Job) -> AsyncGenerator[GenerationEvent, None]:
        body: dict[str, object] = {
            "model": self._config.group,
            "messages": list(job.asked.messages),
            "max_tokens": job.max_tokens,
            "stop": list(job.asked.stops),
            "return_token_ids": True,
            **job.asked.tools,
            **vllm_fields(job.sampling, job.seed, job.asked),
            **cache_fields(job, secrets.token_bytes),
        }
        answer: dict[str, Any] = await self._http.post("/v1/chat/completions", body, patient=True)
        choice = answer["choices"][0]
        if tuple(answer.get("prompt_token_ids") or ()) != job.prompt_ids:
            raise ServeError(ENGINE_FAILED, "the engine rendered the prompt with tools in two ways")
        cached = cached_tokens(answer, 0)
        message = choice["message"]
        yield Prefilled(len(job.prompt_ids), cached)
        yield Piece(message.get("content") or "", tool_calls=tool_deltas(message))
        finish = Finish.TOOL_CALLS if message.get("tool_calls") else FINISHES.get(choice["finish_reason"], Finish.STOP)
        yield Ended(finish, tuple(choice["token_ids"]), cached)

    async def _launch(self) -> None:
        config = self._config
        command = [config.command, "serve", str(config.model_path), "--served-model-name", config.group]
        command += ["--host", config.address.host, "--port", str(config.address.port)]
        command += ["--max-model-len", str(config.request_context), "--max-num-seqs", str(config.slots)]
        command += ["--enable-prompt-tokens-details", "--generation-config", "vllm"]
        environment = {"VLLM_API_KEY": self._api_key, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        self._child = ChildProcess(command, environment)
        await self._child.start()
        log.info("vLLM is loading the model; this takes a minute or more")
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._child.running:
            if await self._http.answers("/health"):
                return
            await asyncio.sleep(POLL_S)
        said = self._child.last_words() or "it said nothing"
        await self._child.close()
        raise EngineStartError(
            f"`{config.command} serve` did not come up with {config.model_path}: {said}. "
            "engine.command must name vLLM's command (planetserve[vllm] brings it), engine.model_path a Hugging Face folder."
        )

    async def _keep_up(self) -> None:
        """Notice when the server goes, and start it again if it is ours."""
        while True:
            await asyncio.sleep(RESTART_S)
            if not self._owned:
                was, self._healthy = self._healthy, await self._http.answers("/health")
                if self._healthy and not was:
                    self.on_restart()
            elif not self._child.running:
                self._healthy = False
                log.error("the engine died; it is started again", extra={"fields": {"exit_code": self._child.exit_code}})
                try:
                    await self._launch()
                    self._healthy = True
                    self.on_restart()
                except EngineStartError as error:
                    log.error("the engine does not start", extra={"fields": {"reason": error}})
