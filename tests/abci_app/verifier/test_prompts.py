"""Challenge prompts: the same for a seed, different otherwise, short, and sampled as users sample."""

from collections import Counter

from abci_app.verifier.prompts import MAX_TOKENS, MIN_TOKENS, challenge_prompt
from network.crypto import sha256


def test_prompts_follow_their_seed_and_vary() -> None:
    seeds = [sha256(bytes((number % 256, number // 256))) for number in range(600)]
    prompts = [challenge_prompt(seed) for seed in seeds]
    assert prompts == [challenge_prompt(seed) for seed in seeds]
    assert len({prompt.messages for prompt in prompts}) > 590
    assert all(len(text) < 240 and "{" not in text for prompt in prompts for _, text in prompt.messages)
    assert all(prompt.messages[-1][0] == "user" for prompt in prompts)


def test_sampling_values_are_those_of_users() -> None:
    drawn = Counter(challenge_prompt(sha256(bytes((n % 256, n // 256)))).sampling.temperature_milli for n in range(2000))
    assert drawn.most_common(1)[0][0] == 600 and set(drawn) > {0, 300, 700, 1000}
    for number in range(200):
        sampling = challenge_prompt(sha256(b"x", bytes((number,)))).sampling
        assert MIN_TOKENS <= sampling.max_tokens <= MAX_TOKENS
