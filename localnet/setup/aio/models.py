"""The model files: made by the packages that own them, in the environment that set-up has just filled.

Each tool is idempotent, moves its file into place whole, and prints a line per step, which the stage shows. A stamp
remembers which release of the tools was content with the files, so that a finished set-up is not hashed again.
"""

import hashlib
import os
from pathlib import Path

from localnet.setup.aio.stages import Stage, need_space
from localnet.setup.pins import Layout

STAMP = ".made"
# A change in these is a change in what the files must be.
DEFINITIONS = ("serving_node/models/catalogue.py", "serving_node/models/rewrite.py", "abci_app/verifier/reference/layout.py")


def make(layout: Layout, stage: Stage) -> None:
    """See to it that the published model, the cheat's model and the verifiers' reference weights are in the cache."""
    published, cheat = layout.model("F16"), layout.model("Q4_0")
    stamp, release = layout.models / STAMP, _release(layout)
    present = all(path.is_file() for path in (published, cheat, layout.reference))
    if present and stamp.is_file() and stamp.read_text() == release:
        stage.result = f"3 files in {layout.models}"
        return
    need_space(layout.cache, 400 if present else 1300, "making the model files")
    layout.models.mkdir(parents=True, exist_ok=True)
    folder: list[str | Path] = ["--models-dir", layout.models]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    steps: tuple[tuple[str, list[str | Path]], ...] = (
        ("the published model (F16)", ["serving_node.models", "f16", *folder]),
        ("the 4-bit model", ["serving_node.models", "requantise", *folder]),
        ("the reference weights", ["abci_app.verifier.reference", "build", published, layout.reference]),
    )
    for what, words in steps:
        stage.run(f"making {what}", [layout.python, "-m", *words], cwd=layout.checkout, env=env)
    stamp.write_text(release)
    stage.result = f"3 files made in {layout.models}"


def _release(layout: Layout) -> str:
    digest = hashlib.sha256()
    for name in DEFINITIONS:
        digest.update((layout.checkout / name).read_bytes())
    return digest.hexdigest()
