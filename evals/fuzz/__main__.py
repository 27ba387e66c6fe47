"""`python -m evals.fuzz`: runs the fuzzers, one per decoder, and prints what each came to.

Exits with 1 at the first input that breaks a decoder, after printing it; `--seed` repeats a run exactly.
"""

import argparse
import json
import sys
import tracemalloc
from time import perf_counter

from evals.fuzz import abci, cells, cloves, codecs, documents, files, group, light, replies, snapshots, transactions
from evals.fuzz.engine import FuzzFailure, Target, fuzz

ROOMS = (codecs, abci, transactions, light, documents, snapshots, files, cells, cloves, replies, group)


def main() -> int:
    """Fuzz the targets that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m evals.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="inputs per target (10000)")
    parser.add_argument("--seconds", type=float, default=0, help="end a target after this long, whatever --inputs says")
    parser.add_argument("--target", default="", help="only targets whose name begins so, as codec/ or light/proofs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ceiling-mb", type=float, default=0, help="fail when a target ever holds more memory (slower)")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    rows = []
    for target in all_targets():
        if not target.name.startswith(arguments.target):
            continue
        try:
            rows.append(_timed(target, arguments.inputs, arguments.seed, arguments.seconds, arguments.ceiling_mb))
        except FuzzFailure as error:
            print(error, file=sys.stderr)
            return 1
        if arguments.output == "text":
            peak = f"  {rows[-1]['peak_mb']:>5} MB" if arguments.ceiling_mb else ""
            shown = "{target:<28} {inputs:>9} inputs  {taken:>8} taken  {outcomes:>4} outcomes  {rate:>7}/s".format(**rows[-1])
            print(shown + peak, flush=True)
    if arguments.output == "json":
        print(json.dumps({"targets": rows, "inputs": sum(int(str(row["inputs"])) for row in rows)}, indent=2))
    return 0 if rows else 2


def all_targets() -> list[Target]:
    """Every target, in a fixed order."""
    return [target for room in ROOMS for target in room.targets()]


def _timed(target: Target, inputs: int, seed: int, seconds: float, ceiling_mb: float) -> dict[str, object]:
    """One target's row. Raises FuzzFailure, for memory above the ceiling too."""
    if ceiling_mb:
        tracemalloc.start()
    began = perf_counter()
    report = fuzz(target, inputs, seed, lambda: not seconds or perf_counter() - began < seconds)
    rate = round(report.inputs / (perf_counter() - began))
    found = {"target": report.target, "inputs": report.inputs, "taken": report.taken}
    row: dict[str, object] = {**found, "outcomes": len(report.outcomes), "rate": rate}
    if ceiling_mb:
        row["peak_mb"] = round(tracemalloc.get_traced_memory()[1] / 1e6, 1)
        tracemalloc.stop()
        if row["peak_mb"] > ceiling_mb:  # type: ignore[operator]
            raise FuzzFailure(target.name, b"", MemoryError(f"it held {row['peak_mb']} MB, more than {ceiling_mb}"))
    return row


if __name__ == "__main__":
    sys.exit(main())
