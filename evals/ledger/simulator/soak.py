"""`python -m evals.ledger.simulator.soak`: F25, a real application process through many blocks as fast as it takes them.

What may grow is what is kept: rows of the state, the last versions, snapshots. Memory, descriptors and files may not. The
first four fifths of the run fill the caches, which are bounded; slopes are least squares over the rest. Prints a JSON document.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

from evals.ledger.simulator.build import chain_of
from evals.ledger.simulator.process import AppHome, AppProcess
from evals.ledger.simulator.replica import Replica
from evals.ledger.simulator.town import Town
from evals.ledger.simulator.world import PARAMS, Genesis

EPOCH = int(str(PARAMS["epoch_blocks"]))
BUSY_EPOCHS = 10  # one epoch in so many is a whole verification epoch, the others have the public's transactions only
KEPT_BLOCKS = 200
SAMPLES = 100


@dataclass(frozen=True)
class Sample:
    """What the process and its folder hold at one height."""

    height: int
    rss_kib: int
    descriptors: int
    files: int
    disk_kib: int


def soak(blocks: int, seed: int, folder: Path, settings: str, say: Callable[[str], None]) -> dict[str, object]:
    """Run so many blocks on one replica, which decides alone."""
    genesis = Genesis((40, 1, 1, 1))
    home = AppHome(folder / "soak", genesis, settings=settings)
    replica = Replica("soak", home.begin, home.erase, genesis.init_chain())
    town = Town(genesis, chain_of(genesis, [replica]), random.Random(seed), people=12, leaving=0.0)
    process = replica.process
    assert isinstance(process, AppProcess)
    every, samples, began = max(1, blocks // SAMPLES), list[Sample](), perf_counter()
    try:
        for height in range(1, blocks + 1):
            if height // EPOCH % BUSY_EPOCHS == 0:
                town.live(1)
            else:
                for raw in town.public.some(1):
                    town.sim.submit(raw, 0)
                town.sim.step()
            town.sim.forget(KEPT_BLOCKS)
            if height % every == 0:
                samples.append(sample(height, process.pid, home.path))
                say(f"{samples[-1]} {height / (perf_counter() - began):.0f} blocks/s")
        town.check()
    finally:
        replica.stop()
    return {**figures(samples), "blocks": blocks, "seconds": round(perf_counter() - began, 1), "last": asdict(samples[-1])}


def sample(height: int, pid: int, folder: Path) -> Sample:
    """Read one from the process's accounts."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "log"]
    sizes = [path.stat().st_size for path in files if path.exists()]
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(height, int(status["VmRSS"].split()[0]), descriptors, len(files), sum(sizes) // 1024)


def figures(samples: Sequence[Sample]) -> dict[str, object]:
    """Slopes per 1,000 blocks after the warm-up, and extremes."""
    steady = samples[len(samples) * 4 // 5 :]
    heights = [float(one.height) for one in steady]
    return {
        "rss_kib_per_1000_blocks": round(1000 * slope(heights, [float(one.rss_kib) for one in steady]), 2),
        "disk_kib_per_1000_blocks": round(1000 * slope(heights, [float(one.disk_kib) for one in steady]), 2),
        "rss_kib": [min(one.rss_kib for one in steady), max(one.rss_kib for one in steady)],
        "descriptors": [min(one.descriptors for one in steady), max(one.descriptors for one in steady)],
        "files": [min(one.files for one in steady), max(one.files for one in steady)],
        "disk_kib": [min(one.disk_kib for one in steady), max(one.disk_kib for one in steady)],
    }


def slope(at: Sequence[float], values: Sequence[float]) -> float:
    """The least-squares slope; 0 for less than two points."""
    middle, mean = sum(at) / max(1, len(at)), sum(values) / max(1, len(values))
    spread = sum((x - middle) ** 2 for x in at)
    return sum((x - middle) * (y - mean) for x, y in zip(at, values, strict=True)) / spread if spread else 0.0


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m evals.ledger.simulator.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where its folder is made, for instance on a memory file system")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="planetserve-soak-", dir=arguments.folder) as folder:
        found = soak(arguments.blocks, arguments.seed, Path(folder), "", lambda line: print(line, file=sys.stderr))
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
