"""Children: they die with their parent, end when told, and are killed when they do not listen."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from abci_app.aio.children import Child

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


def up(child: Child) -> Child:
    assert child.process.stdout is not None and child.process.stdout.readline() == b"up\n"
    return child


def test_ends_are_told_apart() -> None:
    gone = Child("it", [sys.executable, "-c", "raise SystemExit(4)"])
    gone.process.wait()
    assert gone.describe_end() == "it exited with code 4"
    killed = up(Child("it", SLEEPER, piped=True))
    assert killed.exit_code is None
    killed.end(0.0)
    assert killed.describe_end() == "it was killed by SIGKILL"
    gentle = up(Child("it", SLEEPER, piped=True))
    gentle.end(60.0)
    assert gentle.exit_code == -signal.SIGTERM
    deaf = up(Child("it", DEAF, piped=True))
    deaf.end(0.2)
    assert deaf.exit_code == -signal.SIGKILL
    deaf.end(0.2)  # again changes nothing


def test_environment_and_niceness() -> None:
    script = "import os; print(os.environ['MARK'], os.nice(0))"
    child = Child("it", [sys.executable, "-c", script], env={"MARK": "here"}, nice=5, piped=True)
    assert child.process.stdout is not None
    word, nice = child.process.stdout.read().split()
    child.end(0.0)
    assert (word, int(nice)) == (b"here", min(19, os.nice(0) + 5))


def test_a_child_dies_with_its_parent() -> None:
    script = (
        "import sys, time; from abci_app.aio.children import Child; "
        "print(Child('it', [sys.executable, '-c', 'import time; time.sleep(600)']).process.pid, flush=True); time.sleep(600)"
    )
    repository = Path(__file__).resolve().parents[3]
    with subprocess.Popen([sys.executable, "-c", script], cwd=repository, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)
