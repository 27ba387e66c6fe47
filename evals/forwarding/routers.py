"""Other people's routers: an environment of their own, and how each is started here.

    python -m evals.forwarding.routers install    # into the user's cache, about 15 s; again = nothing to do
    python -m evals.forwarding.routers list       # which of them can run, and why one cannot

Versions and hashes are pinned in `requirements-routers.txt`; nothing of theirs enters the project's own environment. All
listen on loopback and reach nothing else: model hubs that some ask for tokenizers are pointed at a closed port.
Exit codes: 0 done, 4 something could not be installed (what could be, is).
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOCK = Path(__file__).with_name("requirements-routers.txt")
PACKAGES = ("sglang-router", "smg", "vllm-router")
NO_TOKENIZER = "--disable-tokenizer-autoload"
SHORT_QUEUES = ("--balance-abs-threshold", "4", "--balance-rel-threshold", "1.2")
CLOSED = "http://127.0.0.1:9"
QUIET = {"HF_ENDPOINT": CLOSED, "HF_HUB_OFFLINE": "1", "RUST_LOG": "error", "NO_PROXY": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Launch:
    """One process of a router: its command, the port users enter at, the page that says it is ready, and where its talk
    with other routers can be counted: at ports of its own, or on a page of counters."""

    argv: tuple[str, ...]
    entry: int
    ready: str
    mesh: tuple[int, ...] = ()
    counters: str = ""


@dataclass(frozen=True, slots=True)
class Router:
    """One way of routing: the package it comes in (none for ours), how many ports it takes, and its processes for these
    ports and engines; what it wants written goes into the folder."""

    name: str
    package: str
    ports: int
    launches: Callable[[Sequence[int], Sequence[str], Path], list[Launch]]
    environment: dict[str, str] = field(default_factory=lambda: dict(QUIET))


def environment_folder() -> Path:
    """Where the routers' environment is: in the user's cache, by the pins' hash."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "planetserve" / f"routers-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"


def python_of_routers() -> Path:
    """Their interpreter."""
    return environment_folder() / "bin" / "python"


def _rust(module: str, ports: Sequence[int], engines: Sequence[str], *more: str, mesh: tuple[int, ...] = ()) -> Launch:
    """The three that are SGLang's router or came from it: the same flags, cache-aware routing."""
    port, metrics = map(str, ports[:2])
    where = ("--host", "127.0.0.1", "--port", port, "--prometheus-host", "127.0.0.1", "--prometheus-port", metrics)
    common = ("--policy", "cache_aware", "--log-level", "error", "--worker-startup-check-interval", "1")
    argv = (str(python_of_routers()), "-m", f"{module}.launch_router", *where, *common, "--worker-urls", *engines, *more)
    return Launch(argv, ports[0], f"http://127.0.0.1:{port}/readiness", mesh)


def _alone(module: str, *more: str) -> Callable[[Sequence[int], Sequence[str], Path], list[Launch]]:
    return lambda ports, engines, _: [_rust(module, ports, engines, *more)]


def _mesh_pair(ports: Sequence[int], engines: Sequence[str], _: Path) -> list[Launch]:
    """Two gateways in front of the same engines that tell each other what went where; users enter at both."""
    first, second = ports[4:6]
    named = [("--enable-mesh", "--mesh-server-name", f"gateway-{at}", "--mesh-host", "127.0.0.1") for at in (0, 1)]
    more = [
        (*named[0], "--mesh-port", str(first)),
        (*named[1], "--mesh-port", str(second), "--mesh-peer-urls", f"127.0.0.1:{first}"),
    ]
    return [_rust("smg", ports[2 * at : 2 * at + 2], engines, NO_TOKENIZER, *more[at], mesh=(ports[4 + at],)) for at in (0, 1)]


# Defaults of each, and for the rule with a threshold on load also one that is set for few engines and short queues.
ROUTERS = (
    Router("sglang-router", "sglang-router", 2, _alone("sglang_router")),
    Router("sglang-router 4/1.2", "sglang-router", 2, _alone("sglang_router", *SHORT_QUEUES)),
    Router("smg", "smg", 2, _alone("smg", NO_TOKENIZER)),
    Router("smg mesh pair", "smg", 6, _mesh_pair),
    Router("vllm-router", "vllm-router", 2, _alone("vllm_router")),
)


def production_stack(python: str) -> Router:
    """vLLM production-stack's router, from an interpreter that has it; no package index carries it."""

    def launches(ports: Sequence[int], engines: Sequence[str], _: Path) -> list[Launch]:
        models = ",".join("fake" for _ in engines)
        where = ("--host", "127.0.0.1", "--port", str(ports[0]), "--service-discovery", "static", "--static-models", models)
        argv = (python, "-m", "vllm_router.app", *where, "--static-backends", ",".join(engines))
        return [Launch((*argv, "--routing-logic", "prefixaware"), ports[0], f"http://127.0.0.1:{ports[0]}/health")]

    return Router("production-stack", "", 1, launches)


def blocks(lock: str) -> dict[str, str]:
    """A lock file's lines by package, hashes and all."""
    found: dict[str, str] = {}
    name = ""
    for line in lock.splitlines(keepends=True):
        if begun := re.match(r"([A-Za-z0-9._-]+)==", line):
            name = begun.group(1).lower()
        found[name] = found.get(name, "") + line
    return found


def missing(package: str) -> str:
    """Why a package of theirs cannot run, or nothing."""
    python = python_of_routers()
    if not python.exists():
        return "not installed; run `python -m evals.forwarding.routers install`"
    failed = environment_folder() / f"{package}.failed"
    if failed.exists():
        return failed.read_text()
    return ""


def install() -> dict[str, str]:
    """Make the environment: each package's error, or nothing. What does not install leaves the others usable."""
    folder, python = environment_folder(), python_of_routers()
    if python.exists() and (folder / "whole").exists():
        return dict.fromkeys(PACKAGES, "")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    locked = blocks(LOCK.read_text())
    errors = {}
    for package in PACKAGES:
        kept = "".join(text for name, text in locked.items() if name == package or name not in PACKAGES)
        wanted = folder / f"{package}.txt"
        wanted.write_text(kept)
        command = [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            str(wanted),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        errors[package] = "" if done.returncode == 0 else _last_error(done.stderr)
        if errors[package]:
            (folder / f"{package}.failed").write_text(errors[package])
    if not any(errors.values()):
        (folder / "whole").touch()
    return errors


def _last_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "pip said nothing")[:200]


def main() -> int:
    """Install or list."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.routers", description="Other people's routers.")
    parser.add_argument("command", choices=("install", "list"))
    wanted = parser.parse_args().command
    errors = install() if wanted == "install" else {package: missing(package) for package in PACKAGES}
    for package, error in errors.items():
        print(f"{package:16} {error or 'installed in ' + str(environment_folder())}")
    return 4 if any(errors.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
