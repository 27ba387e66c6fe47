"""AUC against its definition; the trees find a planted difference and nothing in noise."""

import numpy as np
import pytest

from evals.anonymity.scoring import auc, auc_error, cross_validated, fold_aucs


def test_auc_is_the_chance_of_the_right_order() -> None:
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, 80), rng.integers(0, 6, 80).astype(float)
    wins = [(a > b) + 0.5 * (a == b) for a in scores[labels == 1] for b in scores[labels == 0]]
    assert auc(labels, scores) == pytest.approx(np.mean(wins))
    assert auc(labels, labels) == 1.0 and auc(labels, np.zeros(80)) == 0.5
    assert auc_error(100, 100) == pytest.approx(0.0409, abs=1e-4)


def test_trees_are_scored_on_groups_they_have_not_seen() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(2)
    labels, groups = rng.integers(0, 2, 600), np.arange(600) // 6
    noise = rng.normal(size=(600, 4))
    planted = np.column_stack([noise, labels + 0.3 * noise[:, 0]])
    assert np.mean(fold_aucs(labels, cross_validated(planted, labels, groups, 1), groups, 1)) > 0.99
    found = float(np.mean(fold_aucs(labels, cross_validated(noise, labels, groups, 1), groups, 1)))
    assert abs(found - 0.5) < 4 * auc_error(300, 300)
