"""Profile `paper`: the published credit, 1 / perplexity with its floor."""

from math import exp, log

import numpy as np
import pytest

from abci_app.verifier.paper import FLOOR, PaperJudge
from network.chain_records import UNIT
from network.chain_tx import EVIDENCE_OFFSET


def test_paper_is_one_over_perplexity_with_a_floor() -> None:
    row = np.log(np.array([[0.5, 0.3, 0.2]], dtype=np.float32))
    judge = PaperJudge()
    judge.add(row, [0])
    judge.add(row, [2])
    assert judge.score()[0] == pytest.approx(UNIT * exp((log(0.5) + log(0.2)) / 2), abs=200)
    flat = PaperJudge()
    flat.add(np.arange(60, dtype=np.float32)[None, :], [5])
    assert flat.log_probability == log(FLOOR)
    assert flat.score()[1] == EVIDENCE_OFFSET
