"""`python -m abci_app.verifier.reference build MODEL.gguf REFERENCE.npy`: make the reference of a published model once.

Idempotent: what is there and of this model is left alone. The weight file moves into place last and whole.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from abci_app.verifier.reference.gguf_source import GgufSource, UnsupportedModel
from abci_app.verifier.reference.layout import count, info_from_json, info_path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command: 0 done or already there, 1 not a model we can compute, 3 no file or no room."""
    parser = argparse.ArgumentParser(prog="python -m abci_app.verifier.reference")
    build = parser.add_subparsers(dest="command", required=True).add_parser("build", help="dequantise a GGUF file once")
    build.add_argument("source", type=Path, nargs="?", help="the published GGUF file")
    build.add_argument("target", type=Path, nargs="?", help="the reference to write (.npy)")
    build.add_argument("--model", type=Path, help="the same as SOURCE")
    build.add_argument("--out", type=Path, help="the same as TARGET")
    options = parser.parse_args(arguments)
    source, target = options.source or options.model, options.target or options.out
    if source is None or target is None:
        parser.error("give the GGUF file and the .npy file to write")
    try:
        return _build(source, target)
    except UnsupportedModel as error:
        return _failed(1, f"{source}: {error}. Publish another model, or verify it with an engine.")
    except OSError as error:
        return _failed(3, f"{error}. Check the path, and that the disk has room for twice the model in F16.")


def _build(source: Path, target: Path) -> int:
    model_hash = _sha256(source)
    if _is_there(target, model_hash):
        print(f"{target}: already there", file=sys.stderr)
        return 0
    gguf = GgufSource(source, model_hash)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + f".{os.getpid()}.part")
    try:
        _write_weights(gguf, part)
        description = info_path(part)
        description.write_text(gguf.info.to_json())
        description.replace(info_path(target))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
        info_path(part).unlink(missing_ok=True)
    print(f"{target}: {target.stat().st_size} bytes of {gguf.shape.layers} layers", file=sys.stderr)
    return 0


def _write_weights(gguf: GgufSource, part: Path) -> None:
    total = count(gguf.shape)
    weights = np.lib.format.open_memmap(part, mode="w+", dtype=np.dtype("<f4"), shape=(total,))
    at = shown = 0
    for matrix in gguf.matrices():
        weights[at : at + matrix.size] = matrix.ravel()
        at += matrix.size
        if 10 * at // total > shown:
            shown = 10 * at // total
            print(f"{part.name.split('.npy')[0]}: {10 * shown} %", file=sys.stderr, flush=True)
    assert at == total, f"{at} numbers written, {total} expected"
    weights.flush()


def _is_there(target: Path, model_hash: str) -> bool:
    """A complete reference of the same model, in this format."""
    if not (target.is_file() and info_path(target).is_file()):
        return False
    try:
        info = info_from_json(info_path(target).read_text())
    except (ValueError, TypeError, KeyError):
        return False
    return info.model_hash == model_hash and target.stat().st_size >= 4 * count(info.shape)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _failed(code: int, why: str) -> int:
    print(f"error: {why}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
