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
# What each level holds; every lock contains those before it.
LOCKS = {"run": "requirements.txt", "dev": "requirements-dev.txt", "evals": "requirements-evals.txt"}
_LEVELS = list(LOCKS)
PACKAGES = ("abci_app", "localnet", "network", "relay", "serving_node")


def _wanted(layout: Layout, level: str) -> dict[str, object]:
    lock = LOCKS[level]
    digest = hashlib.sha256()
    for name in (lock, "pyproject.toml"):
        digest.update((layout.checkout / name).read_bytes())
    version = ".".join(str(part) for part in sys.version_info[:2])
    return {"lock": lock, "sha256": digest.hexdigest(), "python": version, "checkout": str(layout.checkout)}


def ready(layout: Layout, level: str) -> bool:
    """Whether the environment is there and made from the present lock file of this level or of a higher one."""
    kept = _kept(layout)
    fits = kept is not None and _LEVELS.index(kept) >= _LEVELS.index(level)
    return fits and layout.python.exists() and (layout.venv / "bin" / "planetserve").exists()


def make(layout: Layout, level: str, stage: Stage) -> None:
    """Make or repair the environment."""
    if ready(layout, level):
        stage.result = "as locked"
        return
    if layout.venv.exists() and not (layout.venv / "pyvenv.cfg").exists():
        raise SetupError(
            "the virtual environment was not made",
            f"{layout.venv} exists and is not a virtual environment",
            "move it away, then run the same command again",
        )
    need_space(layout.venv, 900, "the virtual environment")
    wanted = _wanted(layout, max(level, _had(layout), key=_LEVELS.index))
    stamp = layout.venv / STAMP
    stamp.unlink(missing_ok=True)
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


def _stamp(layout: Layout) -> dict[str, object] | None:
    """What the last finished set-up wrote; None when there is none that can be read."""
    try:
        stamp = json.loads((layout.venv / STAMP).read_text())
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def _kept(layout: Layout) -> str | None:
    """The level that the environment was made for from today's files; None when they have changed since."""
    stamp = _stamp(layout)
    return next((level for level in _LEVELS if stamp == _wanted(layout, level)), None)


def _had(layout: Layout) -> str:
    """The level before: a changed lock must not take tools away from an environment that had them."""
    stamp = _stamp(layout)
    if stamp is None:
        return "dev" if (layout.venv / "bin" / "pytest").exists() else "run"
    return next((level for level, lock in LOCKS.items() if stamp.get("lock") == lock), "run")


def _usable(layout: Layout) -> bool:
    """Whether there is an environment of this interpreter's version that pip can fill."""
    config = layout.venv / "pyvenv.cfg"
    if not (config.exists() and layout.python.exists() and (layout.venv / "bin" / "pip").exists()):
        return False
    version = ".".join(str(part) for part in sys.version_info[:2])
    return any(row.startswith("version") and f"= {version}." in row for row in config.read_text().splitlines())
