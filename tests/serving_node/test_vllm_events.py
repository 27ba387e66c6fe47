"""vLLM's chunks and metrics, as recorded shapes."""

from serving_node.vllm_events import cached_tokens, engine_sample, logprobs


def test_cached_tokens_come_with_the_usage() -> None:
    assert cached_tokens({"usage": {"prompt_tokens_details": {"cached_tokens": 16}}}, 0) == 16
    assert cached_tokens({"usage": None}, 5) == 5


def test_logprobs_of_a_chunk() -> None:
    choice = {"logprobs": {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5, "b": -2.0}]}}
    (token,) = logprobs(choice)
    assert (token.token, token.logprob, [seen.token for seen in token.top]) == ("a", -0.5, ["a", "b"])
    assert logprobs({"logprobs": None}) == ()


def test_the_load_is_read_from_its_metrics() -> None:
    rows = {
        "vllm:num_requests_running": 2.0,
        "vllm:num_requests_waiting": 1.0,
        "vllm:prompt_tokens_total": 1100.0,
        "vllm:prefix_cache_hits_total": 100.0,
        "vllm:request_prefill_time_seconds_sum": 4.0,
    }
    sample = engine_sample(rows)
    assert (sample.running, sample.waiting, sample.prefill_tokens_per_s) == (2, 1, 250.0)
    assert engine_sample({}).prefill_tokens_per_s == 0.0
