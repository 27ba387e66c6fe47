"""`docs/tour.md`: every command in it works, in its order. Last of this folder, because the tour ends the network."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from localnet.aio.commands import DEFAULT_MANIFEST
from localnet.manifest import parse
from localnet.plan import Files, plan

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"(?:<!-- expects: (?P<expects>.*?) -->\n)?```console\n(?P<body>.*?)```", re.DOTALL)


def steps() -> list[tuple[str, str]]:
    """(script, expected pattern) of each block; `$ ` begins a command, and what follows belongs to it."""
    found = []
    for block in BLOCK.finditer((ROOT / "docs" / "tour.md").read_text()):
        lines = [row.removeprefix("$ ") for row in block["body"].splitlines()]
        found.append(("\n".join(lines), block["expects"] or ""))
    return found


def moved(script: str, port_base: int) -> str:
    """The script with the default ports replaced by this network's."""
    manifest = parse(DEFAULT_MANIFEST.read_text())
    files = Files("c", {"F16": "a", "Q4_0": "b"}, {"F16": "00"}, "r")
    usual, ours = plan(manifest, bytes(32), files), plan(manifest, bytes(32), files, port_base)
    addresses = {}
    for old, new in zip(usual.nodes, ours.nodes, strict=True):
        addresses[old.address], addresses[old.metrics] = new.address, new.metrics
    return re.sub(r"127\.0\.0\.1:\d+", lambda match: addresses[match.group()], script)


@pytest.mark.parametrize(("script", "expects"), steps())
def test_a_stop_of_the_tour(localnet: Any, script: str, expects: str) -> None:
    environ = localnet.environ()
    environ["PATH"] = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", moved(script, localnet.port_base)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    assert re.search(expects, done.stdout), f"{script}\n{done.stdout}\n{done.stderr}"


def test_the_tour_visits_every_localnet_command() -> None:
    text = "\n".join(script for script, _ in steps())
    assert all(f"localnet {word}" in text for word in ("status", "kill", "start", "logs"))
    assert "make localnet" in text and "make localnet-down" in text
