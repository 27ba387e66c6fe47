"""What engines are told about sampling: the scheme's sampler chain, and nothing a default could change."""

from network.inference import Endpoint, Sampling
from serving_node.asked import Asked
from serving_node.sampling import llama_fields, vllm_fields

PLAIN = Asked(Endpoint.CHAT)


def test_the_chain_holds_only_what_is_on() -> None:
    assert llama_fields(Sampling(600, 0, 0, 1), 7, PLAIN) == {"seed": 7, "temperature": 0.6, "samplers": ["temperature"]}
    assert llama_fields(Sampling(1000, 900, 40, 1), 7, PLAIN)["samplers"] == ["temperature", "top_k", "top_p"]
    assert llama_fields(Sampling(1000, 1000, 0, 1), 7, PLAIN)["samplers"] == ["temperature"]


def test_greedy_ignores_the_filters() -> None:
    assert llama_fields(Sampling(0, 900, 40, 1), 7, PLAIN) == {"seed": 7, "temperature": 0.0, "samplers": ["temperature"]}


def test_penalties_and_biases_come_first_and_only_when_asked_for() -> None:
    asked = Asked(Endpoint.CHAT, presence_penalty=0.5, logit_bias={"3": -100.0})
    fields = llama_fields(Sampling(600, 0, 0, 1), 7, asked)
    assert fields["samplers"] == ["penalties", "temperature"] and fields["logit_bias"] == [[3, -100.0]]


def test_vllm_is_told_every_field() -> None:
    fields = vllm_fields(Sampling(600, 0, 0, 1), 7, PLAIN)
    assert (fields["seed"], fields["top_p"], fields["top_k"], fields["repetition_penalty"]) == (7, 1.0, 0, 1.0)
