"""`planetserve validator COMMAND ...`: init, status, doctor, reset, rollback, snapshot, restore, export, guard,
upgrade, systemd; `start` is the supervisor itself.

Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 this machine, home or configuration cannot do it, 4 not running.
"""

import argparse
import sys
from collections.abc import Callable

from abci_app.cli import back, doctor, export, home, reset, signing, snapshots, status, unit, upgrade
from network.aio.keys import KeyFileError
from network.cli.output import KEYS, PREFLIGHT, CommandFailed, fail
from network.errors import ConfigError, PlanetServeError

FAILED = 1


def main() -> int:
    """Parse the command line and do one command."""
    arguments = parser().parse_args()
    work: Callable[[argparse.Namespace], int] = arguments.work
    try:
        return work(arguments)
    except CommandFailed as error:
        return fail(str(error), error.code)
    except KeyFileError as error:
        return fail(str(error), KEYS)
    except ConfigError as error:
        return fail(str(error), PREFLIGHT)
    except PlanetServeError as error:
        return fail(str(error), FAILED)
    except OSError as error:
        return fail(f"{error.filename or 'a file'}: {error.strerror}; check the disk and who owns it", PREFLIGHT)


def parser() -> argparse.ArgumentParser:
    """The command line of `planetserve validator`."""
    top = argparse.ArgumentParser(
        prog="planetserve validator",
        description="The life of a validator. `planetserve validator start NAME` runs it; docs/validator.md says all.",
    )
    kinds = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for part in (home, status, doctor, reset, back, snapshots, export, signing, upgrade, unit):
        part.add_parser(kinds)
    return top


if __name__ == "__main__":
    sys.exit(main())
