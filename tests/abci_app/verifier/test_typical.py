"""Profile `typical` against simulated samplers: honest text is typical at any temperature, other text soon is not."""

from dataclasses import replace
from math import exp, log, sqrt
from statistics import mean, stdev

import numpy as np
import pytest

from abci_app.verifier.typical import TILTS, TypicalJudge
from network.chain_records import UNIT
from network.chain_tx import EVIDENCE_OFFSET
from network.inference import Sampling

VOCABULARY, TOKENS, END = 200, 60, 7
LIMIT = 13_816
KEY = bytes(range(32))


def rows(seed: int, count: int = TOKENS) -> np.ndarray:
    """Peaked random logits."""
    return (np.random.default_rng(seed).gumbel(size=(count, VOCABULARY)) * 2).astype(np.float32)


def draw(logits: np.ndarray, seed: int, sampling: Sampling) -> list[int]:
    """Honest sampling, written the slow way: temperature, top_k, top_p, one independent draw a token."""
    random = np.random.default_rng(seed)
    tokens = []
    for row in logits:
        scaled = row.astype(np.float64) / (sampling.temperature_milli / 1000)
        shares = np.exp(scaled - scaled.max())
        order = np.argsort(-shares)
        if sampling.top_k:
            order = order[: sampling.top_k]
        if sampling.top_p_milli:
            cumulated = np.cumsum(shares[order] / shares[order].sum())
            order = order[: int(np.searchsorted(cumulated, sampling.top_p_milli / 1000)) + 1]
        tokens.append(int(random.choice(order, p=shares[order] / shares[order].sum())))
    return tokens


def judged(logits: np.ndarray, tokens: list[int], sampling: Sampling) -> TypicalJudge:
    judge = TypicalJudge(sampling, KEY, [END])
    for start in range(0, len(tokens), 16):  # in pieces, as the model yields them
        judge.add(logits[start : start + 16], tokens[start : start + 16])
    return judge


SAMPLINGS = [
    Sampling(temperature, top_p, top_k, TOKENS)
    for temperature in (300, 600, 1000)
    for top_p, top_k in ((0, 0), (900, 0), (0, 40), (950, 20))
]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_honest_answers_are_typical(sampling: Sampling) -> None:
    judges = [judged(rows(seed), draw(rows(seed), seed, sampling), sampling) for seed in range(40)]
    assert all(judge.score()[0] > 0.85 * UNIT for judge in judges)
    assert sum(judge.score()[0] < UNIT for judge in judges) <= 1, "three deviations are free"
    assert all(judge.score()[1] < EVIDENCE_OFFSET + LIMIT for judge in judges)
    assert not any(judge.statistics().strays for judge in judges)
    scores = [judge.statistics().z for judge in judges]
    assert abs(mean(scores)) < 4 / sqrt(len(scores)) and 0.6 < stdev(scores) < 1.5
    uniform = [judge.statistics().cramer_von_mises for judge in judges]
    assert sum(value > 0.743 for value in uniform) <= 3, "once in a hundred under honesty"


def test_the_mean_of_what_a_bet_wins_is_at_most_one() -> None:
    """The definition of an e-value, by simulation; short answers, so that the mean is not carried by a few large ones."""
    sampling = Sampling(800, 0, 0, 4)
    logits = rows(1, 4)
    won = [exp(judged(logits, draw(logits, seed, sampling), sampling).evidence()) for seed in range(3000)]
    assert mean(won) < 1 + 4 * stdev(won) / sqrt(len(won))
    assert mean(won) > 0.3, "and it is no idle bound"


@pytest.mark.parametrize("sampling", [s for s in SAMPLINGS if s.temperature_milli == 1000 and not s.top_k], ids=str)
def test_another_temperature_or_model_is_not_typical(sampling: Sampling) -> None:
    logits = np.concatenate([rows(seed) for seed in range(8)])
    asked = replace(sampling, max_tokens=len(logits))
    for other in (replace(asked, temperature_milli=600), replace(asked, temperature_milli=1600)):
        assert judged(logits, draw(logits, 5, other), asked).evidence() > 13.8
    greedy = judged(logits[:TOKENS], [int(row.argmax()) for row in logits[:TOKENS]], sampling)
    assert greedy.evidence() > 13.8 and greedy.statistics().z > 3
    pruned = logits + np.random.default_rng(9).normal(scale=1.5, size=logits.shape).astype(np.float32)
    assert judged(logits, draw(pruned, 6, asked), asked).evidence() > 13.8


def test_tokens_outside_the_nucleus_count_as_strays() -> None:
    asked = Sampling(1000, 700, 0, TOKENS)
    judge = judged(rows(3), draw(rows(3), 3, replace(asked, top_p_milli=0)), asked)
    assert judge.statistics().strays > 5 and judge.evidence() > 13.8


def test_an_answer_that_never_ends_where_it_should() -> None:
    logits = rows(4)
    logits[:, END] = logits.max(axis=1) + 1.5
    asked = Sampling(1000, 0, 0, TOKENS)
    tokens = [int(np.delete(row, END).argmax()) for row in logits]
    assert judged(logits, tokens, asked).statistics().end_z < -5
    assert judged(logits, tokens, asked).evidence() > 13.8


def test_a_cached_answer_is_typical() -> None:
    """What this profile cannot see, said by a test: the tokens of another draw of the right model."""
    asked = Sampling(600, 0, 0, TOKENS)
    assert judged(rows(1), draw(rows(1), 999, asked), asked).score()[0] > 0.95 * UNIT


def test_the_formulas_on_one_token() -> None:
    """Four tokens of probability 1/2, 1/4, 1/8, 1/8; the second is emitted, the third would end the answer."""
    probabilities = [0.5, 0.25, 0.125, 0.125]
    entropy = -sum(p * log(p) for p in probabilities)
    variance = sum(p * log(p) ** 2 for p in probabilities) - entropy**2
    judge = TypicalJudge(Sampling(1000, 0, 0, 10), KEY, [2])
    judge.add(np.log(np.array([probabilities], dtype=np.float32)), [1])
    found = judge.statistics()
    assert found.z == pytest.approx((log(0.25) + entropy) / sqrt(variance), rel=1e-5)
    assert found.least_tail == pytest.approx(0.5)
    assert found.end_z == pytest.approx(-0.125 / sqrt(0.125 * 0.875), rel=1e-6)
    tilted = mean(0.25 ** (1 + s) / sum(p ** (1 + s) for p in probabilities) / 0.25 for s in TILTS)
    ended = mean(1 / (0.875 + odds * 0.125) for odds in (0.05, 20.0))
    strays = mean((1 - share) / 0.998 for share in (0.05, 0.3))
    assert exp(judge.evidence()) == pytest.approx(mean((tilted, ended, strays, 0.5)), rel=1e-5)
    assert judge.score() == (UNIT, EVIDENCE_OFFSET + round(1000 * judge.evidence()))
