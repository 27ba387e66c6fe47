"""The virtual environment: made once, filled from the lock file with hashes checked, the project installed editable.

A stamp names the lock file, the project file and the interpreter it was made from; while all three stay the same,
nothing is done again.
"""

import hashlib
import json
import sys
from pathlib import Path

from localnet.setup.aio.stages import Stage, need_space
from localnet.setup.failures import SetupError
from localnet.setup.pins import Layout

STAMP = ".planetserve.json"
PACKAGES = ("abci_app", "localnet", "network", "relay", "serving_node")


def _wanted(layout: Layout, dev: bool) -> dict[str, object]:
    lock = "requirements-dev.txt" if dev else "requirements.txt"
    digest = hashlib.sha256()
    for name in (lock, "pyproject.toml"):
        digest.update((layout.checkout / name).read_bytes())
    version = ".".join(str(part) for part in sys.version_info[:2])
    return {"lock": lock, "sha256": digest.hexdigest(), "python": version, "checkout": str(layout.checkout)}


def ready(layout: Layout, dev: bool) -> bool:
    """Whether the environment is there and made from the present lock file. The development lock contains the other."""
    try:
        stamp = json.loads((layout.venv / STAMP).read_text())
    except (OSError, ValueError):
        return False
    fits = stamp == _wanted(layout, True) or (not dev and stamp == _wanted(layout, False))
    return fits and layout.python.exists() and (layout.venv / "bin" / "planetserve").exists()


def make(layout: Layout, dev: bool, stage: Stage) -> None:
    """Make or repair the environment."""
    if ready(layout, dev):
        stage.result = "as locked"
        return
    if layout.venv.exists() and not (layout.venv / "pyvenv.cfg").exists():
        raise SetupError(
            "the virtual environment was not made",
            f"{layout.venv} exists and is not a virtual environment",
            "move it away, then run the same command again",
        )
    need_space(layout.venv, 900, "the virtual environment")
    stamp = layout.venv / STAMP
    stamp.unlink(missing_ok=True)
    dev = dev or _had_dev(layout)
    wanted = _wanted(layout, dev)
    if not _usable(layout):
        stage.run("making the virtual environment", [sys.executable, "-m", "venv", "--clear", layout.venv])
    pip: list[str | Path] = [layout.python, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    lock = layout.checkout / str(wanted["lock"])
    stage.run("installing the locked packages", [*pip, "--only-binary", ":all:", "--require-hashes", "-r", lock])
    project: list[str | Path] = ["--no-index", "--no-deps", "--no-build-isolation", "--editable", layout.checkout]
    stage.run("installing the project", [*pip, *project])
    folders = [layout.checkout / name for name in PACKAGES]
    stage.run("compiling the project", [layout.python, "-m", "compileall", "-q", *folders])
    partial = stamp.with_suffix(".partial")
    partial.write_text(json.dumps(wanted))
    partial.replace(stamp)
    stage.result = f"{layout.venv.name}, from {wanted['lock']}"


def _had_dev(layout: Layout) -> bool:
    """A changed lock must not take the test tools away from an environment that had them."""
    return (layout.venv / "bin" / "pytest").exists()


def _usable(layout: Layout) -> bool:
    """Whether there is an environment of this interpreter's version that pip can fill."""
    config = layout.venv / "pyvenv.cfg"
    if not (config.exists() and layout.python.exists() and (layout.venv / "bin" / "pip").exists()):
        return False
    version = ".".join(str(part) for part in sys.version_info[:2])
    return any(row.startswith("version") and f"= {version}." in row for row in config.read_text().splitlines())
