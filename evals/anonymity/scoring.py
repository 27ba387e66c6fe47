"""How well a score tells two groups apart, and what a trained classifier makes of features; numpy alone, but for the trees.

AUC is the chance that a random member of the first group scores above a random one of the second; 0.5 is guessing.
"""

import importlib
from math import sqrt
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
FOLDS = 5


def auc(labels: Array, scores: Array) -> float:
    """Area under the receiver's curve, ties counted half."""
    order = np.argsort(scores, kind="stable")
    _, starts, counts = np.unique(scores[order], return_index=True, return_counts=True)
    ranks = np.empty(len(scores))
    ranks[order] = np.repeat(starts + (counts + 1) / 2, counts)
    wins = int(labels.sum())
    losses = len(labels) - wins
    return float((ranks[labels == 1].sum() - wins * (wins + 1) / 2) / (wins * losses))


def auc_error(wins: int, losses: int) -> float:
    """Standard error of the AUC of a score that says nothing."""
    return sqrt((wins + losses + 1) / (12.0 * wins * losses))


def cross_validated(features: Array, labels: Array, groups: Array, seed: int) -> Array:
    """Every row's score by gradient-boosted trees that have not seen its group: no run teaches what it is tested on."""
    trees, one_thread = _trees()
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    scores = np.zeros(len(labels))
    for fold in range(FOLDS):
        held = np.isin(groups, order[fold::FOLDS])
        model = trees(max_iter=120, learning_rate=0.08, max_leaf_nodes=15, random_state=seed)
        with one_thread(limits=1):  # its threads spin, and lose on a busy machine
            model.fit(features[~held], labels[~held])
            scores[held] = model.predict_proba(features[held])[:, 1]
    return scores


def fold_aucs(labels: Array, scores: Array, groups: Array, seed: int) -> list[float]:
    """The AUC within each fold of `cross_validated`; scores of different folds come from different trees."""
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    held = [np.isin(groups, order[fold::FOLDS]) for fold in range(FOLDS)]
    return [auc(labels[each], scores[each]) for each in held if 0 < labels[each].sum() < each.sum()]


def _trees() -> tuple[Any, Any]:
    try:
        trees = importlib.import_module("sklearn.ensemble").HistGradientBoostingClassifier
        return trees, importlib.import_module("threadpoolctl").threadpool_limits
    except ModuleNotFoundError as error:
        raise SystemExit("scikit-learn is not installed: install requirements-evals.txt") from error
