"""`validator systemd`: the unit file that keeps a validator running on a machine with systemd."""

import argparse
import getpass
import sys
from pathlib import Path

from abci_app.cli import place

# systemd.service(5), "COMMAND LINES": these mean something in a unit file.
_ESCAPES = str.maketrans({"%": "%%", "$": "$$", "\\": "\\\\", '"': '\\"'})


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`validator systemd`."""
    meaning = "print a systemd unit for the validator"
    parser = kinds.add_parser("systemd", help=meaning, description=meaning)
    place.add_arguments(parser)
    parser.add_argument("--user", default=getpass.getuser(), help="who runs it (default: you)")
    parser.set_defaults(work=systemd)


def systemd(arguments: argparse.Namespace) -> int:
    """Print the unit."""
    path = place.config_path(arguments)
    settings = place.config(arguments)
    print(unit(settings.node.name, path, Path(sys.executable), arguments.user, settings.comet.home), end="")
    return 0


def unit(name: str, config: Path, python: Path, user: str, comet: Path) -> str:
    """The unit file. What starting again cannot help stays down: 2 usage, 3 cannot start, 4 an upgrade is missing."""
    folders = " ".join(dict.fromkeys((_quoted(config.parent), _quoted(comet))))
    return f"""[Unit]
Description=PlanetServe validator {name.translate(_ESCAPES)}
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={_quoted(python)} -m abci_app --config {_quoted(config)}
User={user}
WorkingDirectory={_escaped(config.parent)}
Restart=always
RestartSec=5
RestartPreventExitStatus=2 3 4
TimeoutStartSec=120
TimeoutStopSec=30
WatchdogSec=120
KillMode=mixed
LimitNOFILE=65536
OOMScoreAdjust=-500
NoNewPrivileges=true
PrivateTmp=true
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=true
ProtectControlGroups=true
ReadWritePaths={folders}

[Install]
WantedBy=multi-user.target
"""


def _quoted(path: Path) -> str:
    return f'"{_escaped(path)}"'


def _escaped(path: Path) -> str:
    return str(path).translate(_ESCAPES)
