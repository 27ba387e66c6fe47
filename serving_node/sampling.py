"""From the signed sampling parameters, and what the body adds, to what each engine is told.

Scheme `llamacpp-mt19937-v1`: the engine's sampler chain is temperature, then top-k, then top-p, each only when it is on;
its last step draws one uniform per token from mt19937(seed). Temperature 0 is greedy. Penalties and biases go first, and
only when the body asks for them. What a verifier has to repeat is written in `serving_node/README.md` section 3.
"""

from network.inference import Sampling
from serving_node.asked import Asked


def llama_fields(sampling: Sampling, seed: int, asked: Asked) -> dict[str, object]:
    """The sampling fields of llama.cpp's completion endpoints."""
    samplers: list[str] = []
    fields: dict[str, object] = {"seed": seed, "temperature": sampling.temperature_milli / 1000}
    if asked.presence_penalty or asked.frequency_penalty:
        samplers.append("penalties")
        fields |= {
            "presence_penalty": asked.presence_penalty,
            "frequency_penalty": asked.frequency_penalty,
            "repeat_last_n": -1,
        }
    samplers.append("temperature")
    if sampling.temperature_milli and sampling.top_k:
        samplers.append("top_k")
        fields["top_k"] = sampling.top_k
    if sampling.temperature_milli and 0 < sampling.top_p_milli < 1000:
        samplers.append("top_p")
        fields["top_p"] = sampling.top_p_milli / 1000
    if asked.logit_bias:
        fields["logit_bias"] = [[int(token), amount] for token, amount in asked.logit_bias.items()]
    return {**fields, "samplers": samplers}


def vllm_fields(sampling: Sampling, seed: int, asked: Asked) -> dict[str, object]:
    """The sampling fields of vLLM's OpenAI endpoints; everything its model's own defaults could change is said."""
    fields: dict[str, object] = {
        "seed": seed,
        "temperature": sampling.temperature_milli / 1000,
        "top_p": sampling.top_p_milli / 1000 or 1.0,
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
    }
    if asked.logit_bias:
        fields["logit_bias"] = dict(asked.logit_bias)
    return fields
