"""`planetserve localnet ...`: up, down, status, logs, kill, pause, resume, start.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 this machine or home cannot run it, 4 no network there, 130 interrupted.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

try:
    # A background job of a script inherits SIGINT ignored; an interrupted start must end what it began all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from localnet.aio import commands
    from localnet.aio.home import load
    from localnet.errors import INTERRUPTED, LocalnetError
    from localnet.setup.failures import SetupError
    from localnet.setup.pins import Layout, layout
except KeyboardInterrupt:  # the imports take half a second, long enough for a hasty Ctrl-C
    sys.exit(130)

CHECKOUT = Path(__file__).resolve().parent.parent


def main(words: list[str] | None = None) -> int:
    """Parse the command line and run one command."""
    arguments = _parser().parse_args(words)
    named = arguments.home or os.environ.get("PLANETSERVE_HOME")
    home = Path(named).resolve() if named else CHECKOUT / ".localnet"
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return _run(arguments, home, layout(CHECKOUT, os.environ))
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except LocalnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(arguments: argparse.Namespace, path: Path, place: Layout) -> int:
    if arguments.command == "up":
        return commands.up(path, place, arguments.manifest, arguments.port_base)
    if arguments.command == "down":
        return commands.down(path, arguments.wipe)
    home = load(path, place)
    if arguments.command == "status":
        return asyncio.run(commands.status(home, arguments.output == "json"))
    if arguments.command == "logs":
        return commands.logs(home, arguments.name, arguments.follow, arguments.lines)
    return commands.perturb(home, arguments.command, arguments.name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="planetserve localnet", description="A whole network on this machine.")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--home", help="folder of the network (default: $PLANETSERVE_HOME, else .localnet in the checkout)")
    commands_ = parser.add_subparsers(dest="command", required=True)
    up = commands_.add_parser("up", parents=[shared], help="start the network, wait until it serves, ask one prompt")
    up.add_argument("--manifest", help="what to start (default: localnet/manifests/default.toml)")
    up.add_argument("--port-base", type=int, metavar="N", help="move every port: the gateway to N, the others to N+100..N+1299")
    down = commands_.add_parser("down", parents=[shared], help="end every process of the network")
    down.add_argument("--wipe", action="store_true", help="remove its home too: chain, keys and logs")
    status = commands_.add_parser("status", parents=[shared], help="what runs, where, and how much memory it takes")
    status.add_argument("--output", choices=("text", "json"), default="text")
    logs = commands_.add_parser("logs", parents=[shared], help="what a node wrote")
    logs.add_argument("name")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it writes")
    logs.add_argument("-n", "--lines", type=int, default=50, help="how many lines to begin with (default: 50)")
    for word, meaning in (
        ("kill", "end a node as a power cut would"),
        ("pause", "stop a node where it stands"),
        ("resume", "let a paused node go on"),
        ("start", "start a node that is not running"),
    ):
        commands_.add_parser(word, parents=[shared], help=meaning).add_argument("name")
    return parser


if __name__ == "__main__":
    sys.exit(main())
