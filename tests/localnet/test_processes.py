"""Real processes: found by their tag, ended whole, and nobody else's touched."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localnet.aio.processes import Herd, cpu_seconds, pss_bytes

# A node that has a child, as a model node has its engine; `stubborn` ones do not listen to SIGTERM.
NODE = """
import signal, subprocess, sys, time
if "stubborn" in open(sys.argv[2]).read():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def herd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Herd]:
    (tmp_path / "standin_node.py").write_text(NODE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = Herd(tmp_path, "net")
    yield made
    made.stop(seconds=0)


def start(herd: Herd, name: str, words: str = "") -> int:
    folder = herd.home / name
    folder.mkdir()
    (folder / "config.toml").write_text(words)
    pid = herd.start(name, "standin_node")
    wait_for(lambda: "up" in (folder / "log").read_text())
    return pid


def wait_for(done: Callable[[], bool]) -> None:
    while not done():
        time.sleep(0.02)


def test_a_node_is_found_with_its_children_and_memory(herd: Herd) -> None:
    pid = start(herd, "relay-00")
    wait_for(lambda: len(herd.living().get("relay-00", [])) == 2)
    processes = herd.living()["relay-00"]
    assert [process.pid for process in processes if process.leader] == [pid]
    assert (herd.home / "relay-00" / "pid").read_text() == f"{pid}\n"
    assert os.getsid(pid) == pid
    assert pss_bytes(processes) > 1_000_000
    assert cpu_seconds(herd.living()) >= 0


def test_stop_ends_everything_it_started_and_nothing_else(herd: Herd) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    other = Herd(herd.home / "elsewhere", "net")
    (other.home).mkdir()
    start(other, "relay-00")
    start(herd, "relay-00")
    start(herd, "relay-01", "stubborn")
    assert herd.stop(seconds=1.0) == 4
    assert herd.living() == {}
    assert not (herd.home / "relay-00" / "pid").exists()
    assert stranger.poll() is None and len(other.living()["relay-00"]) == 2
    assert other.stop(seconds=1.0) == 2
    stranger.kill()
    stranger.wait()


def test_stop_of_some_leaves_the_others(herd: Herd) -> None:
    start(herd, "a")
    start(herd, "b")
    herd.stop(["a"], seconds=1.0)
    assert list(herd.living()) == ["b"]


def test_orphans_of_a_dead_leader_are_ended_too(herd: Herd) -> None:
    os.kill(start(herd, "a"), signal.SIGUSR1)
    wait_for(lambda: [process.leader for process in herd.living().get("a", [])] == [False])
    herd.stop(seconds=5.0)
    assert herd.living() == {}


def test_pause_resume_and_stop_of_a_paused_node(herd: Herd) -> None:
    start(herd, "a")
    herd.signal("a", signal.SIGSTOP)
    wait_for(lambda: {process.state for process in herd.living()["a"]} == {"T"})
    herd.signal("a", signal.SIGCONT)
    wait_for(lambda: {process.state for process in herd.living()["a"]} == {"S"})
    herd.signal("a", signal.SIGSTOP)
    herd.stop(seconds=5.0)
    assert herd.living() == {}


def test_kill_leaves_no_child(herd: Herd) -> None:
    start(herd, "a", "stubborn")
    assert herd.kill("a") >= 2
    assert herd.living() == {} and herd.kill("a") == 0
