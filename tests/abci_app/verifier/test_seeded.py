"""Profile `seeded` against a simulated engine: honest sampling is never surprising, anything else soon is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.verifier.seeded import SeededJudge, uniforms
from network.chain_records import UNIT
from network.chain_tx import EVIDENCE_OFFSET
from network.inference import Sampling

VOCABULARY, TOKENS = 400, 40
LIMIT = 13_816


def rows(seed: int, *, noise: float = 0.0) -> np.ndarray:
    """Peaked random logits, and the same with an engine's rounding on top."""
    random = np.random.default_rng(seed)
    logits = random.gumbel(size=(TOKENS, VOCABULARY)).astype(np.float32) * 2
    return (logits + noise * np.random.default_rng(seed + 1).standard_normal(logits.shape)).astype(np.float32)


def engine(logits: np.ndarray, seed: int, sampling: Sampling) -> list[int]:
    """The engine's sampler chain, written the slow way: temperature, top_k, top_p, then the first cumulative sum >= u."""
    tokens = []
    for row, number in zip(logits, uniforms(seed, len(logits)), strict=True):
        if sampling.temperature_milli == 0:
            tokens.append(int(row.argmax()))
            continue
        scaled = row / np.float32(sampling.temperature_milli / 1000)
        order = list(range(len(row)))
        if sampling.top_k or sampling.top_p_milli:
            order.sort(key=lambda token: -scaled[token])
        if sampling.top_k:
            order = order[: sampling.top_k]
        if sampling.top_p_milli:
            shares = np.exp((scaled[order] - scaled.max()).astype(np.float64))
            cumulated = np.cumsum(shares / shares.sum())
            order = order[: int(np.searchsorted(cumulated, sampling.top_p_milli / 1000)) + 1]
        weights = np.exp((scaled[order] - scaled.max()).astype(np.float32)).astype(np.float64)
        cumulated = np.cumsum(weights)
        tokens.append(order[int(np.searchsorted(cumulated, number * cumulated[-1]))])
    return tokens


def judged(reference: np.ndarray, tokens: list[int], seed: int, sampling: Sampling) -> tuple[int, int]:
    judge = SeededJudge(sampling, seed, TOKENS)
    for start in range(0, TOKENS, 16):  # in pieces, as the model yields them
        judge.add(reference[start : start + 16], tokens[start : start + 16])
    return judge.score()


SAMPLINGS = [
    Sampling(temperature, top_p, top_k, TOKENS)
    for temperature in (0, 300, 600, 1000)
    for top_p, top_k in ((0, 0), (900, 0), (0, 40), (950, 20))
]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_honest_answers_score_high(sampling: Sampling) -> None:
    for seed in range(8):
        tokens = engine(rows(seed, noise=0.003), seed, sampling)
        credit, evidence = judged(rows(seed), tokens, seed, sampling)
        assert credit > 0.95 * UNIT and evidence < EVIDENCE_OFFSET


@pytest.mark.parametrize("sampling", [s for s in SAMPLINGS if s.temperature_milli >= 600], ids=str)
def test_another_model_seed_or_temperature_is_proven(sampling: Sampling) -> None:
    for seed in range(4):
        honest = rows(seed)
        wrong_model = engine(rows(seed, noise=1.0), seed, sampling)
        wrong_seed = engine(honest, seed + 100, sampling)
        for tokens in (wrong_model, wrong_seed):
            credit, evidence = judged(honest, tokens, seed, sampling)
            assert credit < 0.4 * UNIT and evidence > EVIDENCE_OFFSET + 3000
    greedy = engine(rows(0), 0, replace(sampling, temperature_milli=0))
    assert judged(rows(0), greedy, 0, sampling)[1] > EVIDENCE_OFFSET + LIMIT


def test_another_model_is_proven_at_temperature_zero() -> None:
    sampling = Sampling(0, 0, 0, TOKENS)
    tokens = engine(rows(1, noise=3.0), 1, sampling)
    assert judged(rows(1), tokens, 1, sampling)[0] < 0.4 * UNIT


def test_uniforms_are_the_engines() -> None:
    """First draws of std::uniform_real_distribution<double> over std::mt19937(5489), as libstdc++ computes them."""
    words = [3499211612, 581869302, 3890346734, 3586334585]  # std::mt19937's first outputs for its default seed
    assert uniforms(5489, 2).tolist() == [(words[0] + words[1] * 2.0**32) / 2.0**64, (words[2] + words[3] * 2.0**32) / 2.0**64]


def surprised(surprises: list[float]) -> tuple[int, int]:
    judge = SeededJudge(SAMPLINGS[0], 0, len(surprises))
    judge.surprises = surprises
    return judge.score()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_evidence_is_bounded_and_grows_with_surprise(surprises: list[float]) -> None:
    credit, evidence = surprised(surprises)
    assert 0 <= credit <= UNIT and 0 < evidence <= 2 * EVIDENCE_OFFSET
    worse = surprised([min(1.0, value + 0.1) for value in surprises])
    assert worse[1] >= evidence and worse[0] <= credit
