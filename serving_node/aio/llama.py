"""Asking a llama.cpp server: rendering, generating, measuring, over its HTTP endpoints.

A prompt is rendered by the model's template, tokenised once, and sent as ids, so that what is hashed and signed is what
the engine read. Only tool calls go through the engine's chat endpoint, which alone knows how a model writes them.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from network.inference import Endpoint, Finish
from serving_node.aio.engine_http import EngineHttp
from serving_node.asked import Asked
from serving_node.failure import ENGINE_FAILED, ServeError
from serving_node.generation import Ended, EngineSample, GenerationEvent, Job, Piece, Prefilled
from serving_node.llama_events import FINISHES, logprobs, prefilled, whole_piece
from serving_node.sampling import llama_fields
from serving_node.stops import StopFinder
from serving_node.token_ledger import TokenLedger


class LlamaApi:
    """One llama.cpp server's endpoints, as an engine's `render`, `generate` and `sample`."""

    def __init__(self, http: EngineHttp) -> None:
        self._http = http

    async def render(self, asked: Asked) -> tuple[int, ...]:
        """The prompt's token ids by the model's own template and tokeniser."""
        if not isinstance(asked.prompt, str):
            return asked.prompt
        text = asked.prompt
        if asked.endpoint == Endpoint.CHAT:
            body = {"messages": list(asked.messages), **asked.tools}
            text = (await self._http.post("/apply-template", body))["prompt"]
        return await self._tokens(text, special=True)

    async def generate(self, job: Job) -> AsyncGenerator[GenerationEvent, None]:
        """Stream one answer; closing the generator stops the engine's work."""
        stream = self._call_tools(job) if job.asked.wants_tools else self._complete(job)
        async with aclosing(stream):
            async for event in stream:
                yield event

    async def sample(self) -> EngineSample:
        """The engine's own counters: requests in its slots and before them, and its prefill rate so far."""
        rows = {}
        for family in text_string_to_metric_families(await self._http.get_text("/metrics")):
            for row in family.samples:
                rows[row.name] = row.value
        seconds = rows.get("llamacpp:prompt_seconds_total", 0.0)
        rate = rows.get("llamacpp:prompt_tokens_total", 0.0) / seconds if seconds else 0.0
        running = int(rows.get("llamacpp:requests_processing", 0))
        return EngineSample(running, int(rows.get("llamacpp:requests_deferred", 0)), rate)

    async def _complete(self, job: Job) -> AsyncGenerator[GenerationEvent, None]:
        body = self._completion_body(job)
        ledger, stops, cached = TokenLedger(), StopFinder(job.asked.stops), 0
        async with aclosing(self._http.events("/completion", body)) as events:
            async for event in events:
                if (progress := prefilled(event)) is not None:
                    cached = progress.cached_tokens
                    yield progress
                    continue
                if event["stop"]:
                    ledger.end(event["tokens_predicted"])
                    cached = event["timings"]["cache_n"]
                    if rest := stops.rest():
                        yield Piece(rest)
                    yield Ended(FINISHES[event["stop_type"]], await self._all_ids(ledger, job), cached)
                    return
                ledger.add(event["tokens"], event["tokens_predicted"], event["content"])
                text = stops.feed(event["content"])
                if text or event.get("completion_probabilities"):
                    yield Piece(text, logprobs(event) if job.asked.logprobs else ())
                if stops.found:
                    break
        if not stops.found:
            raise ServeError(ENGINE_FAILED, "the engine ended its stream without a last event")
        yield Ended(Finish.STOP, await self._all_ids(ledger, job), cached)

    def _completion_body(self, job: Job) -> dict[str, object]:
        body: dict[str, object] = {
            "prompt": list(job.prompt_ids),
            "n_predict": job.max_tokens,
            "stream": True,
            "return_tokens": True,
            "return_progress": True,
            "cache_prompt": True,
            **llama_fields(job.sampling, job.seed, job.asked),
        }
        if job.asked.logprobs:
            body["n_probs"] = max(1, job.asked.top_logprobs)
        if job.asked.schema is not None:
            body["json_schema"] = job.asked.schema
        return body

    async def _all_ids(self, ledger: TokenLedger, job: Job) -> tuple[int, ...]:
        """Every sampled id: holes that the engine left are filled from the text, else by generating once more."""
        for gap in list(ledger.gaps):
            ledger.try_fill(gap, list(await self._tokens(gap.text, special=False)) if gap.text else [])
        if ledger.gaps:
            body = {**self._completion_body(job), "stream": False, "n_predict": len(ledger), "return_progress": False}
            again = await self._http.post("/completion", body, patient=True)
            if not ledger.try_replace(again["tokens"]):
                raise ServeError(ENGINE_FAILED, "the engine did not tell the ids of all its tokens")
        return ledger.ids()

    async def _call_tools(self, job: Job) -> AsyncGenerator[GenerationEvent, None]:
        body: dict[str, object] = {
            "messages": list(job.asked.messages),
            "max_tokens": job.max_tokens,
            "stop": list(job.asked.stops),
            "return_tokens": True,
            "verbose": True,
            **job.asked.tools,
            **llama_fields(job.sampling, job.seed, job.asked),
        }
        answer: dict[str, Any] = await self._http.post("/v1/chat/completions", body, patient=True)
        choice, verbose = answer["choices"][0], answer["__verbose"]
        cached = answer["timings"]["cache_n"]
        if answer["usage"]["prompt_tokens"] != len(job.prompt_ids):
            raise ServeError(ENGINE_FAILED, "the engine rendered the prompt with tools in two ways")
        yield Prefilled(len(job.prompt_ids), cached)
        yield whole_piece(choice)
        finish = Finish.TOOL_CALLS if choice["message"].get("tool_calls") else FINISHES[verbose["stop_type"]]
        yield Ended(finish, tuple(verbose["tokens"]), cached)

    async def _tokens(self, text: str, *, special: bool) -> tuple[int, ...]:
        body = {"content": text, "add_special": special, "parse_special": special}
        return tuple((await self._http.post("/tokenize", body))["tokens"])
