"""What set-up installs and where it is kept: pinned versions, cache paths, and how versions are read.

Pure: every path is computed from an environment mapping that the caller passes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PYTHON_OLDEST = (3, 11)
PYTHON_BEYOND = (3, 13)  # plyvel 1.5.1 has wheels for 3.11 and 3.12 only
COMETBFT_VERSION = "0.38.25"
COMETBFT_MODULE = f"github.com/cometbft/cometbft/cmd/cometbft@v{COMETBFT_VERSION}"
GO_OLDEST = (1, 22, 11)  # CometBFT's go.mod asks for it
MODEL = "SmolLM2-135M-Instruct"
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are: the checkout, its virtual environment, and the cache that checkouts share."""

    checkout: Path
    venv: Path
    cache: Path

    @property
    def python(self) -> Path:
        """The virtual environment's interpreter."""
        return self.venv / "bin" / "python"

    @property
    def cometbft(self) -> Path:
        """CometBFT as built by set-up; a fitting one on PATH is used before it."""
        return self.cache / "bin" / f"cometbft-v{COMETBFT_VERSION}"

    @property
    def models(self) -> Path:
        """The folder of model files."""
        return self.cache / "models"

    def model(self, variant: str) -> Path:
        """One variant of the localnet's model: `F16`, `Q4_0`, ..."""
        return self.models / f"{MODEL}.{variant}.gguf"

    @property
    def reference(self) -> Path:
        """The verifiers' reference weights, memory-mapped by all of them."""
        return self.models / f"{MODEL}.f32.npy"


def layout(checkout: Path, environ: Mapping[str, str]) -> Layout:
    """The layout of one checkout. The cache follows the XDG base directory rules."""
    base = environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path(environ.get("HOME", "/tmp")) / ".cache"
    return Layout(checkout, checkout / ".venv", root / "planetserve")


def version_of(words: str) -> tuple[int, ...]:
    """The first dotted number in `words` ("go version go1.24.11 linux/amd64" -> (1, 24, 11)); empty when there is none."""
    found = re.search(r"(\d+(?:\.\d+)+)", words)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def cometbft_fits(words: str) -> bool:
    """Whether `cometbft version` printed the pinned version. A build from a commit ("0.38.25+1a2b") does not count."""
    return words.strip().removeprefix("v") == COMETBFT_VERSION


def go_fits(words: str) -> bool:
    """Whether `go version` printed a tool chain that can build the pinned CometBFT."""
    return version_of(words) >= GO_OLDEST
