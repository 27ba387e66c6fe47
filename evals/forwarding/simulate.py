"""What would forwarding do for this traffic? `python -m evals.forwarding.simulate --trace FILE [--nodes 8] ...`.

Runs a trace (Mooncake's JSON lines, or Azure's CSV) through a simulated fleet whose nodes decide with the product's own
forwarders, once per `--policy`, beside a central router that sees everything (`central-ttft`). Times are modelled
(`engines.py`); reuse, decisions and messages are the product's.
"""

import argparse
import sys
from pathlib import Path

from evals.anonymity.present import Table, emit, figure
from evals.forwarding.cells import EXCHANGES, HEAD, rules, simulate
from evals.forwarding.engines import Speed
from evals.forwarding.flight import NEVER, Fleet
from evals.forwarding.traces import CONVERSATION, TraceError, ideal_reuse, load


def main() -> int:
    """Reads the options, simulates, prints."""
    options = parser().parse_args()
    try:
        trace = load(options.trace).first(options.requests).spread(options.spread).scaled(options.speed)
    except TraceError as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    fleet = fleet_of(options)
    policies = options.policy or ["ttft", "central-ttft"]
    results = [simulate(trace, fleet, policy, options.exchange) for policy in policies]
    title = (
        f"{trace.name}: {len(trace.requests)} requests in {trace.requests[-1].at:.0f} s, {fleet.nodes} nodes, "
        f"{fleet.entries} entry points, sync {options.sync}, modelled engines; no routing can reuse more than "
        f"{ideal_reuse(trace):.3f}"
    )
    table = Table(title, ("policy", *HEAD, "CPU s"), [[each.rule, *each.cells(), f"{each.cpu_s:.0f}"] for each in results])
    figures = [
        figure(f"{each.rule}.{name}", value, unit)
        for each in results
        for name, value, unit in (
            ("reuse", each.reuse, "share"),
            ("ttft_mean", each.ttft_mean, "s"),
            ("ttft_p50", each.ttft_p50, "s"),
            ("ttft_p99", each.ttft_p99, "s"),
            ("refused", float(each.refused), "requests"),
            ("load_ratio", each.load_ratio, "max/mean"),
            ("wrong_depth", each.wrong_depth, "share"),
            ("wrong_never", each.wrong_never, "share"),
            ("bytes_per_request", each.bytes_per_request, "B"),
        )
    ]
    return emit("forwarding-simulation", [table], figures, options.output)


def parser() -> argparse.ArgumentParser:
    """The options of a cell."""
    found = argparse.ArgumentParser(prog="python -m evals.forwarding.simulate", description=(__doc__ or "").splitlines()[0])
    found.add_argument("--trace", type=Path, default=CONVERSATION, help=f"default: {CONVERSATION}")
    found.add_argument("--requests", type=int, default=0, help="only the first so many")
    found.add_argument("--speed", type=float, default=2.0, help="how many times as fast as recorded (default: 2)")
    found.add_argument("--spread", type=float, default=0.0, help="arrivals at random within so many seconds of their time")
    found.add_argument("--policy", action="append", choices=rules(), help="may be given again; default: ttft and central-ttft")
    found.add_argument("--output", choices=("table", "json"), default="table")
    found.add_argument(
        "--exchange", choices=("", *EXCHANGES), default="", help="every post to every peer, or one listener's copy"
    )
    add_fleet(found)
    return found


def add_fleet(found: argparse.ArgumentParser) -> None:
    """The options that describe a fleet."""
    usual = Fleet()
    found.add_argument("--nodes", type=int, default=usual.nodes)
    found.add_argument("--entries", type=int, default=0, help="how many of the nodes users enter at (default: all)")
    found.add_argument("--sync", type=_seconds, default=usual.sync_s, help="seconds between a node's posts, or `never`")
    found.add_argument("--rtt", type=float, default=usual.rtt_s, help="seconds of a round trip between nodes")
    found.add_argument("--cache-blocks", type=int, default=usual.cache_blocks, help="512-token blocks in a node's cache")
    found.add_argument("--slots", type=int, default=usual.slots, help="prompts an engine takes at once")
    found.add_argument(
        "--token-us", type=float, default=usual.speed.token_s * 1e6, help="microseconds per uncached prompt token"
    )
    found.add_argument("--fail-every", type=_seconds, default=NEVER, help="mean seconds between two node failures")
    found.add_argument("--away", type=float, default=usual.away_s, help="how long a failed node is away")
    found.add_argument("--confidential-ms", type=float, default=0.0, help="modelled: added to every prefill")
    found.add_argument("--confidential-factor", type=float, default=1.0, help="modelled: multiplies prefill and decode")
    found.add_argument("--seed", type=int, default=usual.seed)


def fleet_of(options: argparse.Namespace) -> Fleet:
    """The fleet that the options describe."""
    entries = min(options.entries or options.nodes, options.nodes)
    speed = Speed(token_s=options.token_us / 1e6, extra_s=options.confidential_ms / 1000, factor=options.confidential_factor)
    return Fleet(
        nodes=options.nodes,
        entries=entries,
        sync_s=options.sync,
        rtt_s=options.rtt,
        cache_blocks=options.cache_blocks,
        slots=options.slots,
        speed=speed,
        fail_every_s=options.fail_every,
        away_s=options.away,
        seed=options.seed,
    )


def _seconds(text: str) -> float:
    return NEVER if text == "never" else float(text)


if __name__ == "__main__":
    sys.exit(main())
