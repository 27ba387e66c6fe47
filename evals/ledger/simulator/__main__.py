"""`python -m evals.ledger.simulator`: random transactions on two real application processes that differ in everything else.

Hash seed, locale, time zone and number of cores are another for each; every answer to FinalizeBlock is compared, byte by
byte, when it is given [APP-DET-2]. Halfway one of them is killed and starts again. Prints a JSON document.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from evals.ledger.simulator.build import chain_of
from evals.ledger.simulator.process import AppHome
from evals.ledger.simulator.replica import Diverged, Replica
from evals.ledger.simulator.town import Town
from evals.ledger.simulator.world import Genesis
from network.crypto import sha256

# Two replicas decide; the other two members hold too little power to be missed, but their verifiers work.
POWERS = (20, 20, 1, 1)
WORLDS: tuple[dict[str, str], ...] = (
    {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"},
    {"PYTHONHASHSEED": "4242", "LC_ALL": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati", "PYTHONUTF8": "1"},
)


def run(txs: int, per_block: int, seed: int, folder: Path) -> dict[str, object]:
    """Send this many transactions of the public, and the committee's on top. Raises Diverged."""
    draw = random.Random(seed)
    genesis = Genesis(POWERS)
    cores = sorted(os.sched_getaffinity(0))
    homes = [
        AppHome(folder / f"p{at}", genesis, world, frozenset(cores[: len(cores) if at else 1]))
        for at, world in enumerate(WORLDS)
    ]
    replicas = [Replica(f"p{at}", home.begin, home.erase, genesis.init_chain()) for at, home in enumerate(homes)]
    began = perf_counter()
    town = Town(genesis, chain_of(genesis, replicas), draw, people=60)
    try:
        for number in range(-(-txs // per_block)):
            if number == txs // per_block // 2:
                replicas[1].stop()
                town.sim.start(1)
            if town.live(per_block) is None:
                raise Diverged("two replicas of two decide nothing")
        town.check()
    finally:
        for replica in replicas:
            if replica.up:
                replica.stop()
    sent = sum(len(block.request.txs) for block in town.sim.chain)
    return {
        "seed": seed,
        "heights": town.sim.height,
        "transactions": sent,
        "codes": {str(code): town.codes[code] for code in sorted(town.codes)},
        "app_hash": town.sim.chain[-1].app_hash.hex(),
        "answers": sha256(*(block.response for block in town.sim.chain)).hex(),
        "seconds": round(perf_counter() - began, 1),
    }


def main() -> int:
    """0 when both said the same all along, 1 when they did not."""
    parser = argparse.ArgumentParser(prog="python -m evals.ledger.simulator", description=__doc__.partition("\n")[0])
    parser.add_argument("--txs", type=int, default=3_000, help="transactions of the public (3000)")
    parser.add_argument("--per-block", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="planetserve-twins-") as folder:
        try:
            found = run(arguments.txs, arguments.per_block, arguments.seed, Path(folder))
        except Diverged as error:
            print(f"the processes differ: {error}", file=sys.stderr)
            return 1
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
