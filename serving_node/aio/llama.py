"""Asking a llama.cpp server: rendering, generating, measuring, over its HTTP endpoints.

A prompt is rendered by the model's template, tokenised once, and sent as ids, so that what is hashed and signed is what
the engine read. Only tool calls go through the engine's chat endpoint, which alone knows how a model writes them.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from network.inference import Endpoint, Finish
from serving_node.aio.engine_http import EngineHttp
from serving_node.aio.unshared import Slots, Stay, fields_of
from serving_node.asked import Asked
from serving_node.failure import ENGINE_FAILED, ServeError
from serving_node.generation import Ended, EngineSample, GenerationEvent, Job, Piece, Prefilled
from serving_node.llama_events import FINISHES, check_schema_kept, logprobs, prefilled, whole_piece
from serving_node.sampling import llama_fields
from serving_node.stops import StopFinder
from serving_node.token_ledger import TokenLedger

# The most tokens that a character of UTF-8 can need beyond its first.
CUT_TOKENS = 3
# How far down the vocabulary a sampled token is looked for.
LIKELY_TOKENS = 4096
SETTLE_LOOKS, SETTLE_PAUSE_S = 20, 0.02


class LlamaApi:
    """One llama.cpp server's endpoints, as an engine's `render`, `generate` and `sample`."""

    def __init__(self, http: EngineHttp) -> None:
        self._http = http
        self._slots = Slots(http)
        self._open = 0
        self._dropped = False

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
        async with self._slots.unshared() if job.unshared else nullcontext() as stay:
            answer = await self._tool_answer(job, stay) if job.asked.wants_tools else None
            if answer is not None:
                for event in _whole(job, answer):
                    yield event
                return
            await self._settle()
            self._open += 1
            try:
                async with aclosing(self._complete(job, stay)) as events:
                    async for event in events:
                        yield event
            finally:
                self._open -= 1

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

    async def _complete(self, job: Job, stay: Stay | None) -> AsyncGenerator[GenerationEvent, None]:
        ledger, stops, cached, finish = TokenLedger(), StopFinder(job.asked.stops), 0, None
        body, said, dropped = self._completion_body(job) | fields_of(stay), "", True
        try:
            async with aclosing(self._http.events("/completion", body)) as events:
                async for event in events:
                    if stay:
                        stay.began()
                    if (progress := prefilled(event)) is not None:
                        cached = progress.cached_tokens
                        yield progress
                        continue
                    if event["stop"]:
                        ledger.end(event["tokens_predicted"])
                        cached, finish, dropped = event["timings"]["cache_n"], FINISHES[event["stop_type"]], False
                        break
                    ledger.add(event["tokens"], event["tokens_predicted"], event["content"])
                    within = len(ledger) <= job.max_tokens
                    text = stops.feed(event["content"]) if within else ""
                    said += text
                    if text or (within and event.get("completion_probabilities")):
                        yield Piece(text, logprobs(event) if job.asked.logprobs else ())
                    # A last token without text may end the answer by itself: the engine's next event says so.
                    if stops.found or not within or (len(ledger) == job.max_tokens and event["content"]):
                        finish = Finish.STOP if stops.found else Finish.LENGTH
                        break
        finally:
            self._dropped |= dropped
        if finish is None:
            raise ServeError(ENGINE_FAILED, "the engine ended its stream without a last event")
        if not stops.found and (rest := stops.rest()):
            said += rest
            yield Piece(rest)
        finish = Finish.LENGTH if len(ledger) > job.max_tokens else finish
        check_schema_kept(job.asked, said, finish, stopped=stops.found)
        yield Ended(finish, (await self._all_ids(ledger, job, body, stay))[: job.max_tokens], cached)

    def _completion_body(self, job: Job) -> dict[str, object]:
        body: dict[str, object] = {
            "prompt": list(job.prompt_ids),
            # A character that the limit cuts is generated to its end, so that the ids before the cut are known.
            "n_predict": job.max_tokens + CUT_TOKENS,
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

    async def _all_ids(self, ledger: TokenLedger, job: Job, body: dict[str, object], stay: Stay | None) -> tuple[int, ...]:
        """Every sampled id. Holes that the engine left are filled as the tokeniser spells their text, else as the model
        most likely spelled it, else by generating once more."""
        if stay and ledger.gaps:
            stay.goes_on()
        for gap in list(ledger.gaps):
            if not gap.text or ledger.try_fill(gap, list(await self._tokens(gap.text, special=False))):
                continue
            prefix = [*job.prompt_ids, *ledger.before(gap)]
            spellings = await self._spellings(prefix, gap.text.encode(), gap.missing + 1, fields_of(stay))
            fitting = [spelling for spelling in spellings if spelling[1][-1] == ledger.last(gap)]
            if not fitting or not ledger.try_fill(gap, max(fitting)[1]):
                break
        if ledger.gaps:
            again = {**body, "stream": False, "n_predict": len(ledger), "return_progress": False}
            if not ledger.try_replace((await self._http.post("/completion", again, patient=True))["tokens"]):
                raise ServeError(ENGINE_FAILED, "the engine did not tell the ids of all its tokens")
        return ledger.ids()

    async def _spellings(
        self, prefix: list[int], text: bytes, count: int, fields: dict[str, object]
    ) -> list[tuple[float, list[int]]]:
        """Ways to spell `text` in `count` tokens after `prefix`, with their log-probabilities, among the likely tokens."""
        # Only a token of whole characters is told with its alternatives, so one is forced; the figures are those before it.
        forced = [[(await self._tokens("a", special=False))[0], 1000.0]]
        probe = {"prompt": prefix, "n_predict": 1, "n_probs": LIKELY_TOKENS, "temperature": 0, "logit_bias": forced, **fields}
        answer = await self._http.post("/completion", probe, patient=True)
        found: list[tuple[float, list[int]]] = []
        for row in answer["completion_probabilities"][0]["top_logprobs"]:
            raw = bytes(row["bytes"])
            if not raw or not text.startswith(raw) or len(text) - len(raw) < count - 1:
                continue
            if count == 1 and raw == text:
                found.append((row["logprob"], [row["id"]]))
            elif count > 1:
                rest = await self._spellings([*prefix, row["id"]], text[len(raw) :], count - 1, fields)
                found += [(row["logprob"] + logprob, [row["id"], *ids]) for logprob, ids in rest]
        return found

    async def _tool_answer(self, job: Job, stay: Stay | None) -> dict[str, Any] | None:
        """The chat endpoint's whole answer; None when it cannot read what the model wrote as an answer with tools."""
        body: dict[str, object] = {
            "messages": list(job.asked.messages),
            "max_tokens": job.max_tokens,
            "stop": list(job.asked.stops),
            "return_tokens": True,
            "verbose": True,
            **job.asked.tools,
            **llama_fields(job.sampling, job.seed, job.asked),
            **fields_of(stay),
        }
        try:
            async with stay.watched() if stay else nullcontext():
                answer: dict[str, Any] = await self._http.post("/v1/chat/completions", body, patient=True)
        except ServeError as error:
            if error.code == ENGINE_FAILED:
                return None
            raise
        if answer["usage"]["prompt_tokens"] != len(job.prompt_ids):
            raise ServeError(ENGINE_FAILED, "the engine rendered the prompt with tools in two ways")
        return answer

    async def _settle(self) -> None:
        """Wait a moment for the engine to drop what was closed early: the next prompt may need just that slot's cache."""
        for _ in range(SETTLE_LOOKS):
            if not self._dropped:
                return
            if (await self.sample()).running <= self._open:
                self._dropped = False
                return
            await asyncio.sleep(SETTLE_PAUSE_S)

    async def _tokens(self, text: str, *, special: bool) -> tuple[int, ...]:
        body = {"content": text, "add_special": special, "parse_special": special}
        return tuple((await self._http.post("/tokenize", body))["tokens"])


def _whole(job: Job, answer: dict[str, Any]) -> tuple[GenerationEvent, ...]:
    """The events of an answer that came whole."""
    choice, verbose, cached = answer["choices"][0], answer["__verbose"], answer["timings"]["cache_n"]
    finish = Finish.TOOL_CALLS if choice["message"].get("tool_calls") else FINISHES[verbose["stop_type"]]
    return (
        Prefilled(len(job.prompt_ids), cached),
        whole_piece(choice),
        Ended(finish, tuple(verbose["tokens"]), cached),
    )
