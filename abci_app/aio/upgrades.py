"""The registry of upgrade environments and the application's note, on disk beside the validator's data."""

import subprocess
import sys
from pathlib import Path

from abci_app.config import ValidatorConfig
from abci_app.upgrades import Plan, Upgrades, parse_plan, parse_upgrades, render_plan, render_upgrades
from network.aio import files
from network.errors import ConfigError

REGISTRY = "upgrades.json"
NOTE = "upgrade-info.json"


def load(config: ValidatorConfig) -> Upgrades:
    """The registered environments; none when there is no file. Raises ConfigError."""
    path = _beside(config, REGISTRY)
    try:
        return parse_upgrades(path.read_bytes(), str(path))
    except FileNotFoundError:
        return Upgrades()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error


def save(config: ValidatorConfig, upgrades: Upgrades) -> None:
    """Write the registry, whole or not at all. Raises ConfigError."""
    _write(_beside(config, REGISTRY), render_upgrades(upgrades))


def python(upgrades: Upgrades) -> str:
    """The interpreter that runs the application now. Raises ConfigError when it is gone."""
    entry = upgrades.find(upgrades.current)
    if entry is not None and not Path(entry.python).is_file():
        raise ConfigError(
            f"{entry.python}, the release of the upgrade {entry.name!r}, does not exist any more; make the environment again"
        )
    return sys.executable if entry is None else entry.python


def announce(config: ValidatorConfig, plan: Plan) -> None:
    """Leave the note by which the supervisor finds the plan's environment. Raises ConfigError."""
    _write(_beside(config, NOTE), render_plan(plan))


def announced(config: ValidatorConfig) -> Plan:
    """The plan that the application ended for. Raises ConfigError when it left none."""
    path = _beside(config, NOTE)
    try:
        return parse_plan(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"the application ended for an upgrade, but {path} cannot be read ({error.strerror})") from error


def probe(interpreter: Path) -> int:
    """The application version that an environment's release runs up to. Raises ConfigError when it holds none."""
    program = "from abci_app.state.upgrade import SUPPORTED_APP_VERSION as version; print(version)"
    try:
        done = subprocess.run(
            [str(interpreter), "-c", program], cwd="/", capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{interpreter} does not run ({error}); give the python of the release's environment") from error
    if done.returncode or not done.stdout.strip().isdecimal():
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ConfigError(f"{interpreter} does not hold a PlanetServe that can upgrade ({said}); install the release there")
    return int(done.stdout)


def _beside(config: ValidatorConfig, name: str) -> Path:
    return config.data.parent / name


def _write(path: Path, text: str) -> None:
    try:
        files.replace(path, text, 0o666)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); free space, or see who owns the folder") from error
