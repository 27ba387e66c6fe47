"""Requests to OpenAI endpoints when they are due, whatever became of those before: times, tokens, cached tokens, refusals."""

import asyncio
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from evals.forwarding.load import quantile
from evals.forwarding.workloads import Prompt

PATIENCE_S = 120.0
REFUSALS = (429, 503)


@dataclass(slots=True)
class Answer:
    """What became of one request. Times in seconds from when it was due; `status` 0 where no answer came."""

    counted: bool
    status: int = 0
    ttft_s: float = 0.0
    total_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    whole: bool = False
    reason: str = ""


async def drive(plan: Sequence[Prompt], urls: Sequence[str], model: str, warm_s: float) -> list[Answer]:
    """All requests of a plan; those due in the first `warm_s` seconds are not counted."""
    loop = asyncio.get_running_loop()
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as client:
        start, tasks = loop.time() + 0.05, []
        for prompt in plan:
            await asyncio.sleep(max(0.0, start + prompt.due_s - loop.time()))
            ask = _ask(client, urls[prompt.entry % len(urls)], prompt, model, start + prompt.due_s, prompt.due_s >= warm_s)
            tasks.append(asyncio.create_task(ask))
        return list(await asyncio.gather(*tasks))


async def _ask(client: aiohttp.ClientSession, url: str, prompt: Prompt, model: str, due: float, counted: bool) -> Answer:
    loop, answer = asyncio.get_running_loop(), Answer(counted)
    body = {
        "model": model,
        "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
        "max_tokens": prompt.max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    try:
        async with client.post(f"{url}/chat/completions", json=body) as response:
            answer.status = response.status
            if response.status != 200:
                answer.reason = f"{response.status} {(await response.text())[:160]}"
                return answer
            async for line in response.content:
                if line.startswith(b"data: "):
                    _read(answer, line[6:].strip(), loop.time() - due)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        answer.whole, answer.reason = False, type(error).__name__
    answer.total_s = loop.time() - due
    return answer


def _read(answer: Answer, data: bytes, at_s: float) -> None:
    if data == b"[DONE]":
        answer.whole = answer.status == 200
        return
    event: dict[str, Any] = json.loads(data)
    if not answer.ttft_s and any(choice.get("delta", {}).get("content") for choice in event.get("choices", ())):
        answer.ttft_s = at_s
    usage = event.get("usage")
    if usage:
        answer.prompt_tokens, answer.answer_tokens = usage["prompt_tokens"], usage["completion_tokens"]
        answer.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)


def summary(answers: Sequence[Answer], seconds: float) -> dict[str, float]:
    """The counted part of a cell. Refusals and failures stand beside the times of whole answers; without any, no times."""
    counted = [answer for answer in answers if answer.counted]
    good = [answer for answer in counted if answer.whole]
    total, first = sorted(answer.total_s for answer in good), sorted(answer.ttft_s for answer in good)
    pace = [(each.total_s - each.ttft_s) / (each.answer_tokens - 1) for each in good if each.answer_tokens > 1 and each.ttft_s]
    prompt = sum(answer.prompt_tokens for answer in good)
    refused = sum(answer.status in REFUSALS for answer in counted)
    found = {
        "requests": float(len(counted)),
        "refused": float(refused),
        "failed": float(len(counted) - len(good) - refused),
        "hit_rate": sum(answer.cached_tokens for answer in good) / prompt if prompt else 0.0,
        "answer_tokens_per_s": sum(answer.answer_tokens for answer in good) / seconds,
        "tpot_ms": statistics.fmean(pace) * 1e3 if pace else 0.0,
    }
    for name, values in (("latency", total), ("ttft", first)):
        if values:
            found[f"{name}_mean_s"] = statistics.fmean(values)
            found[f"{name}_p50_s"] = quantile(values, 0.5)
            found[f"{name}_p99_s"] = quantile(values, 0.99)
    return found


def reasons(answers: Sequence[Answer]) -> list[str]:
    """Why counted requests have no answer, each reason once."""
    found = {answer.reason or "the stream broke off" for answer in answers if answer.counted and not answer.whole}
    return sorted(found)[:5]
