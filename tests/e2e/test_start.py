"""Starts that cannot be: a clear message, the right exit code, and nothing left running."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
LOCALNET = [sys.executable, "-m", "localnet"]


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environ}
    return subprocess.run([*LOCALNET, *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=240, check=False)


def processes_of(home: Path) -> list[str]:
    """Every process that names this home in its environment or command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                words = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                if str(home).encode() in words:
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_a_port_in_use_is_named_and_nothing_starts(tmp_path: Path, free_ports: Any) -> None:
    base = free_ports()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", base + 103))
        taken.listen(1)
        done = run("up", "--home", str(tmp_path / "net"), "--port-base", str(base))
    assert done.returncode == 3
    assert f"{base + 103} (relay-03)" in done.stderr and "--port-base" in done.stderr
    assert processes_of(tmp_path / "net") == []


@pytest.mark.parametrize(
    ("seconds", "number"),
    [*((seconds, signal.SIGINT) for seconds in (0.3, 1.5, 4.0, 8.0)), (4.0, signal.SIGTERM)],
)
def test_an_interrupt_at_any_moment_leaves_nothing_running(
    tmp_path: Path, free_ports: Any, seconds: float, number: signal.Signals
) -> None:
    """Also where the caller ignores SIGINT, as a script's background jobs do."""
    home = tmp_path / "net"
    up = subprocess.Popen(
        [*LOCALNET, "up", "--home", str(home), "--port-base", str(free_ports())],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) if seconds > 2 else None,
    )
    try:
        time.sleep(seconds)
        up.send_signal(number)
        said, _ = up.communicate(timeout=120)
        # Before the interpreter has its handlers, the signal itself ends it; a shell shows both as 128 + number.
        assert up.returncode in (130, -number), said
        assert processes_of(home) == [], said
    finally:
        up.kill()
        run("down", "--wipe", "--home", str(home))
    assert not home.exists()


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for command in (["up"], ["down", "--wipe"], ["status"]):
        done = run(*command, "--home", str(tmp_path))
        assert done.returncode == 3 and "is not a home of a localnet" in done.stderr
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_home_of_another_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "network.json").write_text(json.dumps({"format": 99}))
    done = run("up", "--home", str(tmp_path))
    assert done.returncode == 3 and "another release" in done.stderr and "down --wipe" in done.stderr


def test_missing_files_are_named_before_anything_starts(tmp_path: Path) -> None:
    done = run("up", "--home", str(tmp_path / "net"), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 3 and "is missing" in done.stderr and "make setup" in done.stderr
    assert not (tmp_path / "net").exists()


def test_a_manifest_that_is_wrong_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "mine.toml"
    manifest.write_text("chain_id = 3\n")
    done = run("up", "--home", str(tmp_path / "net"), "--manifest", str(manifest))
    assert done.returncode == 3 and "validators is missing" in done.stderr


def test_no_network_has_its_own_exit_code(tmp_path: Path) -> None:
    done = run("status", "--home", str(tmp_path / "net"))
    assert done.returncode == 4 and "there is no network" in done.stderr
    assert run("down", "--home", str(tmp_path / "net")).returncode == 0
    assert run("dance").returncode == 2
