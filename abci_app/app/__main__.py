"""`python -m abci_app.app --config config.toml`: the application process of a validator.

Exit codes: 0 stopped, 3 cannot start, 4 the chain has upgraded beyond this release, 70 a fault on the consensus connection.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from abci_app.aio.app import run
from abci_app.aio.server import CONFIG_EXIT, UPGRADE_EXIT
from abci_app.aio.settings import load_config
from abci_app.aio.storage import StoreError
from abci_app.state.errors import UpgradeNeeded
from network.aio import logs
from network.errors import ConfigError


def main() -> int:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m abci_app.app", description="The application process of a validator.")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        config = load_config(arguments.config)
        logs.configure(config.node.name, config.node.log_level, config.node.log_format)
        asyncio.run(run(config))
    except (ConfigError, StoreError) as error:
        print(f"abci_app.app: {error}", file=sys.stderr)
        return CONFIG_EXIT
    except UpgradeNeeded as error:
        print(f"abci_app.app: {error}", file=sys.stderr)
        return UPGRADE_EXIT
    return 0


if __name__ == "__main__":
    sys.exit(main())
