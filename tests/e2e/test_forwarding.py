"""A second conversation with a long shared prefix lands on the node that holds it, and its first token comes sooner."""

import time
from typing import Any

import openai

MODEL = "smollm2-135m-instruct"
RULES = " ".join(f"Rule {number}: item {number * 37 % 101} goes into box {number * 53 % 89}." for number in range(60))


def ask(client: openai.OpenAI, question: str) -> tuple[str, int, int, float]:
    """(who answered, prompt tokens, cached tokens, seconds to the first token)"""
    began = time.monotonic()
    first = 0.0
    usage: Any = None
    messages: Any = [{"role": "system", "content": RULES}, {"role": "user", "content": question}]
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=messages, max_tokens=8, stream=True, stream_options={"include_usage": True}
    ) as response:
        for chunk in response.parse():
            if chunk.choices and chunk.choices[0].delta.content and not first:
                first = time.monotonic() - began
            usage = chunk.usage or usage
        return response.headers["x-planetserve-node"], usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, first


def test_a_shared_prefix_lands_on_its_holder(localnet: Any) -> None:
    """Three of four at least: a node may rightly serve a prompt itself while the holder is busy with a challenge, and
    holds the prefix itself from then on."""
    client = openai.OpenAI(base_url=localnet.base_url, api_key="any")
    holder, prompt_tokens, _, cold = ask(client, "Where does item 37 go?")
    time.sleep(6)  # deltas travel every 1 to 5 seconds
    questions = ("Where does item 74 go?", "Which box is fullest?", "Name one rule.", "Which rule is the last?")
    answers = [ask(client, question) for question in questions]
    warm = [seconds for _, _, cached, seconds in answers if cached > prompt_tokens // 2]
    assert len(warm) >= 3, (holder, answers)
    assert min(warm) < cold / 2
