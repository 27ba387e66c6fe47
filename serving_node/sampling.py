"""From the signed sampling parameters to what each engine is told.

Scheme `llamacpp-mt19937-v1`: the engine's sampler chain is temperature, then top-k, then top-p, each only when it is on,
and nothing else; its last step draws one 53-bit uniform per token from mt19937(seed). Temperature 0 is greedy. What a
verifier has to repeat is written in `serving_node/README.md` section 3.
"""

from network.inference import Sampling


def llama_fields(sampling: Sampling, seed: int) -> dict[str, object]:
    """The sampling fields of llama.cpp's completion endpoints."""
    samplers = ["temperature"]
    fields: dict[str, object] = {"seed": seed, "temperature": sampling.temperature_milli / 1000}
    if sampling.temperature_milli and sampling.top_k:
        samplers.append("top_k")
        fields["top_k"] = sampling.top_k
    if sampling.temperature_milli and 0 < sampling.top_p_milli < 1000:
        samplers.append("top_p")
        fields["top_p"] = sampling.top_p_milli / 1000
    return {**fields, "samplers": samplers}


def vllm_fields(sampling: Sampling, seed: int) -> dict[str, object]:
    """The sampling fields of vLLM's OpenAI endpoints; everything its model's own defaults could change is said."""
    return {
        "seed": seed,
        "temperature": sampling.temperature_milli / 1000,
        "top_p": sampling.top_p_milli / 1000 or 1.0,
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }
