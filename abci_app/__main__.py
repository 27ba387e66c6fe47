"""`python -m abci_app --config config.toml`: a validator — application, CometBFT and verifier under one supervisor.

Exit codes: 0 stopped by SIGTERM or Ctrl-C, 3 cannot start, 4 the chain has upgraded beyond this release; the message says
why and what to do.
"""

import argparse
import os
import sys
from pathlib import Path

from abci_app.aio.settings import load_config
from abci_app.aio.supervisor import HopelessStart, Supervisor
from network.aio import logs
from network.errors import ConfigError


def main() -> int:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m abci_app", description="A validator of a PlanetServe network.")
    parser.add_argument("--config", type=Path, required=True, help="the validator's config.toml")
    path: Path = parser.parse_args().config
    try:
        config = load_config(path)
        logs.configure(config.node.name, config.node.log_level, config.node.log_format)
        return Supervisor(config, path.resolve(), os.environ.get("NOTIFY_SOCKET", "")).run()
    except ConfigError as error:
        print(f"abci_app: {error}", file=sys.stderr)
        return 3
    except HopelessStart as error:
        print(f"abci_app: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
