"""The processes of a localnet: started detached, found again by a tag, ended whole.

Every process a node starts inherits one environment variable that names the network's home and the node. A process
without it is never touched, so a pid that the system has given to somebody else in the meantime is safe.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

TAG = "PLANETSERVE_NODE"
STOP_SECONDS = 8.0
POLL_SECONDS = 0.05
PROC = Path("/proc")
# One thread per library: what spins beyond the cores slows every node down.
QUIET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True, slots=True)
class Process:
    """One live process of a node. `leader` is the one that was started, not one of its children."""

    pid: int
    state: str
    leader: bool


class Herd:
    """The processes of one network, by node name."""

    def __init__(self, home: Path, network: str) -> None:
        self.home, self.network = home, network
        self._prefix = f"{network}@{home}/"

    def start(self, name: str, module: str) -> int:
        """Start a node detached: own session, output to its log, nothing shared with this terminal."""
        folder = self.home / name
        env = {**os.environ, **QUIET, TAG: self._prefix + name}
        argv = [sys.executable, "-m", module, "--config", str(folder / "config.toml")]
        with (folder / "log").open("ab") as log:
            child = subprocess.Popen(
                argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        (folder / "pid").write_text(f"{child.pid}\n")
        return child.pid

    def living(self) -> dict[str, list[Process]]:
        """Every live process of this network, by node. Zombies do not count."""
        marker = f"{TAG}={self._prefix}".encode()
        found: dict[str, list[Process]] = {}
        for entry in PROC.iterdir():
            if not entry.name.isdigit():
                continue
            name = _tagged(entry, marker)
            process = _process(entry) if name is not None else None
            if name is not None and process is not None:
                found.setdefault(name, []).append(process)
        return found

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to every process of a node, the one that was started first; how many got it."""
        processes = sorted(self.living().get(name, []), key=lambda process: not process.leader)
        return sum(_send(process.pid, number) for process in processes)

    def kill(self, name: str) -> int:
        """End a node as a power cut would; how many processes it had."""
        killed = 0
        while self.living().get(name):
            killed += self.signal(name, signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        (self.home / name / "pid").unlink(missing_ok=True)
        return killed

    def stop(self, names: Iterable[str] | None = None, seconds: float = STOP_SECONDS) -> int:
        """Ask nodes to stop (all of them by default), end what has not after `seconds`; how many processes went."""
        chosen = None if names is None else set(names)
        gone: set[int] = set()
        asked: set[int] = set()
        deadline = time.monotonic() + seconds
        while living := {name: rows for name, rows in self.living().items() if chosen is None or name in chosen}:
            late = time.monotonic() > deadline
            for processes in living.values():
                headless = not any(process.leader for process in processes)
                for process in processes:
                    gone.add(process.pid)
                    if late or headless:
                        _send(process.pid, signal.SIGKILL)
                    elif process.leader and process.pid not in asked:
                        asked.add(process.pid)
                        _send(process.pid, signal.SIGTERM)
                        for paused in processes:
                            _send(paused.pid, signal.SIGCONT)
            time.sleep(POLL_SECONDS)
        for name in chosen if chosen is not None else [path.parent.name for path in self.home.glob("*/pid")]:
            (self.home / name / "pid").unlink(missing_ok=True)
        return len(gone)


def _tagged(entry: Path, marker: bytes) -> str | None:
    """The node that a process belongs to, or None. Processes of other users cannot be read, and are not ours."""
    try:
        environ = (entry / "environ").read_bytes()
    except OSError:
        return None
    if marker not in environ:
        return None
    for variable in environ.split(b"\0"):
        # A home may lie inside another one; a node's name holds no slash.
        if variable.startswith(marker) and b"/" not in variable[len(marker) :]:
            return variable[len(marker) :].decode(errors="replace")
    return None


def _process(entry: Path) -> Process | None:
    fields = _stat(entry)
    if fields is None or fields[0] in "ZX":
        return None
    pid = int(entry.name)
    return Process(pid, fields[0], int(fields[3]) == pid)


def _stat(entry: Path) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; the name before them may hold spaces and brackets."""
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except (OSError, IndexError):
        return None


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def pss_bytes(processes: Iterable[Process]) -> int:
    """Proportional memory of these processes; shared pages count once over all that share them."""
    return sum(_pss(process.pid) for process in processes)


def _pss(pid: int) -> int:
    try:
        rows = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(row.split()[1]) * 1024 for row in rows if row.startswith("Pss:"))


def cpu_seconds(living: Mapping[str, list[Process]]) -> float:
    """Processor time that these processes have used since each began."""
    ticks = 0
    for processes in living.values():
        for process in processes:
            fields = _stat(PROC / str(process.pid))
            ticks += int(fields[11]) + int(fields[12]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")
