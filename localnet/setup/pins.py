"""What set-up installs and where it is kept: pinned versions, cache paths, and how versions are read.

Pure: every path is computed from an environment mapping that the caller passes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localnet.setup.failures import SetupError

PYTHON_OLDEST = (3, 11)
PYTHON_BEYOND = (3, 13)  # plyvel 1.5.1 has wheels for 3.11 and 3.12 only
MODEL = "SmolLM2-135M-Instruct"
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Release:
    """A CometBFT that set-up can build: its tag, what `cometbft version` prints, and the Go that its go.mod asks for."""

    version: str
    says: str
    go: tuple[int, ...]

    @property
    def module(self) -> str:
        """What `go install` is given."""
        return f"github.com/cometbft/cometbft/cmd/cometbft@v{self.version}"

    def fits(self, words: str) -> bool:
        """Whether `cometbft version` printed this release. A build from a commit ("0.38.25+1a2b") does not count."""
        return words.strip().removeprefix("v") == self.says

    def go_fits(self, words: str) -> bool:
        """Whether `go version` printed a tool chain that can build it."""
        return version_of(words) >= self.go


COMETBFT = Release("0.38.25", "0.38.25", (1, 22, 11))
# The line after, on which the ledger's tests run a second time. Its tag forgot to raise the version it reports.
NEXT_COMETBFT = Release("0.40.0", "0.39.0", (1, 25, 0))
RELEASES = {release.version: release for release in (COMETBFT, NEXT_COMETBFT)}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are: the checkout, its virtual environment, and the cache that checkouts share."""

    checkout: Path
    venv: Path
    cache: Path
    release: Release = COMETBFT

    @property
    def python(self) -> Path:
        """The virtual environment's interpreter."""
        return self.venv / "bin" / "python"

    @property
    def cometbft(self) -> Path:
        """CometBFT as built by set-up; a fitting one on PATH is used before it."""
        return self.cache / "bin" / f"cometbft-v{self.release.version}"

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
    """The layout of one checkout. The cache follows the XDG base directory rules; COMETBFT_VERSION names another of the
    RELEASES. Raises SetupError for one that set-up does not know."""
    base = environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path(environ.get("HOME", "/tmp")) / ".cache"
    wanted = environ.get("COMETBFT_VERSION") or COMETBFT.version
    release = RELEASES.get(wanted)
    if release is None:
        remedy = f"unset COMETBFT_VERSION, or name one of {', '.join(RELEASES)}"
        raise SetupError("CometBFT was not chosen", f"COMETBFT_VERSION is {wanted!r}, which set-up does not build", remedy)
    return Layout(checkout, checkout / ".venv", root / "planetserve", release)


def version_of(words: str) -> tuple[int, ...]:
    """The first dotted number in `words` ("go version go1.24.11 linux/amd64" -> (1, 24, 11)); empty when there is none."""
    found = re.search(r"(\d+(?:\.\d+)+)", words)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()
