"""Is the simulator right? The same traces through it and through NVIDIA Dynamo's own offline replayer, side by side.

`python -m evals.forwarding.dynamo_check --install` makes the replayer's environment (75 MB, `build/dynamo`), without it the
command compares. Compared: reuse over all prompt tokens under Dynamo's two routers, same trace, workers, cache and speed,
with the replayer's default timing in our engines. Mean TTFT stands beside it, without a goal: our engines do not slow
prefill for decode, and theirs do.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from evals.forwarding.cells import Result, simulate
from evals.forwarding.engines import Speed
from evals.forwarding.flight import Fleet
from evals.forwarding.traces import CONVERSATION, Trace, TraceError, load
from evals.report import Row, missed, row, show

ENVIRONMENT = Path("build/dynamo")
REQUIREMENTS = Path(__file__).with_name("requirements-dynamo.txt")
REPLAY = Path(__file__).with_name("dynamo_replay.py")
# The replayer's polynomial timing: a piece of a prompt by its tokens, a step by the share of the cache in use.
MOCKER = Speed(
    prefill_s=16.50142e-3,
    token_s=15.18344e-6,
    square_s=4.209989e-10,
    chunk_tokens=8192,
    step_s=5.74e-3,
    step_sequence_s=0.0,
    step_fill_s=54.01e-3,
    step_fill2_s=-25.74e-3,
)
RULES = {"round_robin": "central-rotation", "kv_router": "dynamo"}
WITHIN = 0.15


@dataclass(frozen=True, slots=True)
class Setting:
    """Workers, 512-token blocks in each one's cache, and how many times as fast as recorded."""

    workers: int
    blocks: int
    speed: float


SETTINGS = (Setting(8, 2048, 2.0), Setting(16, 2048, 4.0), Setting(8, 512, 2.0))


def main() -> int:
    """Installs, or compares, prints, and fails when a reuse is further apart than 15 %."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.dynamo_check")
    parser.add_argument("--install", action="store_true", help="make the replayer's environment and stop")
    parser.add_argument("--trace", type=Path, default=CONVERSATION, help=f"in Mooncake's format; default: {CONVERSATION}")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    if options.install:
        return install()
    try:
        trace = load(options.trace)
        rows = [each for setting in SETTINGS for name in RULES for each in compared(trace, options.trace, setting, name)]
    except (TraceError, ReplayError) as error:
        print(f"dynamo_check: {error}", file=sys.stderr)
        return 2
    show("forwarding-dynamo", rows, options.output)
    return 1 if missed(rows) else 0


class ReplayError(Exception):
    """The replayer did not run: why, and what to do."""


def install() -> int:
    """An environment with the replayer alone: its other packages are not needed, and one of them does not install."""
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    return subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=False).returncode


def compared(trace: Trace, path: Path, setting: Setting, name: str) -> list[Row]:
    """Reuse and mean TTFT of one router in one setting, theirs as the baseline."""
    theirs = replayed(path, setting, name)
    fleet = Fleet(
        nodes=setting.workers,
        entries=setting.workers,
        rtt_s=0.0,
        forward_s=0.0,
        cache_blocks=setting.blocks,
        slots=256,
        speed=MOCKER,
    )
    ours = simulate(trace.scaled(setting.speed), fleet, RULES[name])
    return figures(f"{name}_{setting.workers}x{setting.blocks}", ours, theirs)


def figures(name: str, ours: Result, theirs: dict[str, float]) -> list[Row]:
    """Two rows: the first has the goal."""
    reuse, ttft = theirs["prefix_cache_reused_ratio"], theirs["mean_ttft_ms"]
    said = "Dynamo's offline replayer, ai-dynamo-runtime 1.6.1"
    apart = abs(ours.reuse / reuse - 1) if reuse else float(ours.reuse > 0)
    return [
        row(f"{name}.reuse_apart", apart * 100, "%", at_most=WITHIN * 100),
        row(f"{name}.reuse", ours.reuse * 100, "%", baseline=said, baseline_value=reuse * 100),
        row(f"{name}.ttft_mean", ours.ttft_mean * 1000, "ms", baseline=said, baseline_value=ttft),
    ]


def replayed(path: Path, setting: Setting, name: str) -> dict[str, float]:
    """The replayer's summary. Raises ReplayError."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        raise ReplayError(f"{ENVIRONMENT} is missing; run `python -m evals.forwarding.dynamo_check --install`")
    if path.suffix == ".csv":
        raise ReplayError(f"{path}: the replayer reads Mooncake's format only")
    # It writes its log to standard output unless told not to, and leaves files where it runs.
    told = {**os.environ, "DYN_LOG": "error"}
    settings = [str(setting.workers), str(setting.blocks * 8), str(setting.speed)]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(python.absolute()), str(REPLAY), str(path.absolute()), name, *settings]
        found = subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True, check=False)
    if found.returncode:
        raise ReplayError(f"the replayer failed: {found.stderr.strip()[-400:]}")
    summary: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return summary


if __name__ == "__main__":
    sys.exit(main())
