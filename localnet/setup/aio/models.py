"""The model files: made by the packages that own them, in the environment that set-up has just filled.

Each tool is idempotent, moves its file into place whole, and prints a line per step, which the stage shows.
"""

import os
from pathlib import Path

from localnet.setup.aio.stages import Stage, need_space
from localnet.setup.pins import Layout


def make(layout: Layout, stage: Stage) -> None:
    """See to it that the published model, the cheat's model and the verifiers' reference weights are in the cache."""
    wanted: tuple[tuple[str, Path, list[str | Path]], ...] = (
        ("the published model (F16)", layout.model("F16"), ["serving_node.models", "f16", "--cache", layout.cache]),
        ("the 4-bit model", layout.model("Q4_0"), ["serving_node.models", "requantise", "--cache", layout.cache]),
        (
            "the reference weights",
            layout.reference,
            ["abci_app.verifier.reference", "build", "--model", layout.model("F16"), "--out", layout.reference],
        ),
    )
    missing = [row for row in wanted if not row[1].exists()]
    if not missing:
        stage.result = f"{len(wanted)} files in {layout.models}"
        return
    need_space(layout.models, 1300, "making the model files")
    layout.models.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for what, _path, words in missing:
        stage.run(f"making {what}", [layout.python, "-m", *words], cwd=layout.checkout, env=env)
    stage.result = f"made {len(missing)} of {len(wanted)} files in {layout.models}"
