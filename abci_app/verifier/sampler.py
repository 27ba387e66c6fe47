"""The distribution that a declared sampler draws from: temperature, then top_k, then top_p, as the engine applies them.

The reference rounds otherwise than the engine, so near-ties may stand in either order and a nucleus may end a little
earlier or later. Section 4 of `docs/verification.md`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from network.inference import Sampling

Matrix = NDArray[np.float32]
TIE = 0.02  # logits this close may stand in either order in a sorted distribution
NUCLEUS_SLACK = 0.004  # cumulated probability this close to top_p may fall on either side


class Kept(NamedTuple):
    """The tokens that the filters leave, most likely first: `order[:exact]`; rounding may end it between the other two."""

    order: NDArray[np.intp]
    least: int
    exact: int
    most: int


def is_filtered(sampling: Sampling) -> bool:
    """Whether top_k or top_p leaves anything out."""
    return bool(sampling.top_k) or sampling.top_p_milli not in (0, 1000)


def weights_of(row: Matrix, sampling: Sampling) -> Matrix:
    """Unnormalised probabilities at the declared temperature, which is above 0; the largest is 1. Shape: the vocabulary's."""
    weights: Matrix = np.exp((row - row.max()) / np.float32(sampling.temperature_milli / 1000))
    return weights


def kept(weights: Matrix, sampling: Sampling) -> Kept:
    """What top_k, then top_p leave of a distribution."""
    order = np.argsort(-weights, kind="stable")
    if sampling.top_k:
        order = order[: sampling.top_k]
    if sampling.top_p_milli in (0, 1000):
        return Kept(order, len(order), len(order), len(order))
    cumulated = np.cumsum(weights[order], dtype=np.float64)
    nucleus = sampling.top_p_milli / 1000
    places = (nucleus - NUCLEUS_SLACK, nucleus, nucleus + NUCLEUS_SLACK)
    least, exact, most = (min(int(np.searchsorted(cumulated / cumulated[-1], place)) + 1, len(order)) for place in places)
    return Kept(order, least, exact, most)
