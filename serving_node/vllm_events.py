"""vLLM's words: what a request says of its cache, completion chunks, usage, and the metrics it exports."""

from collections.abc import Callable, Mapping
from typing import Any

from network.inference import Finish
from serving_node.generation import EngineSample, Job, TokenLogprob

FINISHES = {"stop": Finish.STOP, "length": Finish.LENGTH, "tool_calls": Finish.TOOL_CALLS}


def cache_fields(job: Job, rng: Callable[[int], bytes]) -> dict[str, object]:
    """vLLM keeps cached blocks apart by salt: an unshared prompt gets one that nobody will ever say again."""
    salt = rng(16) if job.unshared else job.salt
    return {"cache_salt": salt.hex()} if salt else {}


def cached_tokens(event: Mapping[str, Any], known: int) -> int:
    """Prompt tokens that came out of the prefix cache, when this event says so."""
    details = (event.get("usage") or {}).get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or known)


def logprobs(choice: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
    """The log-probabilities of a completion chunk."""
    rows = choice.get("logprobs") or {}
    tops = rows.get("top_logprobs") or [None] * len(rows.get("tokens", ()))
    return tuple(
        _token(token, value, tuple(_token(name, seen) for name, seen in (top or {}).items()))
        for token, value, top in zip(rows.get("tokens", ()), rows.get("token_logprobs", ()), tops, strict=True)
    )


def engine_sample(rows: Mapping[str, float]) -> EngineSample:
    """Load from vLLM's own metrics. Its prefill rate is that of all prompts so far, cached tokens left out."""
    computed = rows.get("vllm:prompt_tokens_total", 0.0) - rows.get("vllm:prefix_cache_hits_total", 0.0)
    seconds = rows.get("vllm:request_prefill_time_seconds_sum", 0.0)
    return EngineSample(
        running=int(rows.get("vllm:num_requests_running", 0)),
        waiting=int(rows.get("vllm:num_requests_waiting", 0)),
        prefill_tokens_per_s=max(0.0, computed / seconds) if seconds else 0.0,
    )


def _token(token: str, value: float | None, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
    return TokenLogprob(token, tuple(token.encode()), value or 0.0, top)
