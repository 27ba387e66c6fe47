"""The processes under a validator's supervisor: started so that they die with it, and ended so that none stays."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic, sleep

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _before_exec(parent: int, nice: int) -> Callable[[], None]:
    def run() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the request above took effect
            os._exit(1)
        if nice:
            os.nice(nice)

    return run


class Child:
    """One running child process. It shares our process group, so that a signal to the group reaches the whole validator."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        nice: int = 0,
        piped: bool = False,
        keep: Sequence[int] = (),
    ) -> None:
        """Start it. `keep` are descriptors it inherits besides the standard ones."""
        self.name = name
        self.started = monotonic()
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else sys.stderr,
            stderr=subprocess.STDOUT if piped else sys.stderr,
            pass_fds=keep,
            preexec_fn=_before_exec(os.getpid(), nice),
        )

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self.process.poll()

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends, or has ended, in that time."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.exit_code is not None

    def describe_end(self) -> str:
        """How it ended, for the log."""
        code = self.exit_code
        if code is not None and code < 0:
            return f"{self.name} was killed by {signal.Signals(-code).name}"
        return f"{self.name} exited with code {code}"

    def end(self, patience: float) -> None:
        """SIGTERM, then SIGKILL when `patience` seconds have passed; returns once it is gone."""
        deadline = monotonic() + patience
        if patience > 0 and self.exit_code is None:
            self.process.terminate()
            while self.exit_code is None and monotonic() < deadline:
                sleep(0.02)
        if self.exit_code is None:
            self.process.kill()
        self.process.wait()
