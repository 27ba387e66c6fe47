"""One line per step: what, how far, how long. Runs the tools that do the work and keeps their output in a log.

On a terminal the line is redrawn while the step runs; elsewhere a step prints when it starts and when it ends.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from localnet.setup.failures import SetupError, explain
from localnet.setup.pins import MEGABYTE

REDRAW_SECONDS = 0.2
REMIND_SECONDS = 15.0
SILENT_SECONDS = 10.0  # after this long, a tool's last line no longer says what it is doing


class Stage:
    """A named step of the set-up, as a context manager: prints its name, its last detail and its time."""

    def __init__(self, name: str, log: Path, out: TextIO = sys.stdout) -> None:
        self.name, self.log, self._out = name, log, out
        self._tty = out.isatty()
        self._started = self._reminded = time.monotonic()
        self._open = False
        self.result = ""

    def __enter__(self) -> "Stage":
        self._started = self._reminded = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        mark = "ok" if kind is None else "FAILED"
        self._line(f"  {mark:>6}  {self.name}{': ' + self.result if self.result else ''} ({self.elapsed:.1f} s)", end="\n")

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._started

    def detail(self, words: str) -> None:
        """Show what the step is doing now."""
        if self._tty:
            self._line(f"     ...  {self.name}: {words}"[: shutil.get_terminal_size().columns - 10] + f" {self.elapsed:.0f} s")
        elif not self._open or time.monotonic() - self._reminded > REMIND_SECONDS:
            self._open, self._reminded = True, time.monotonic()
            print(f"     ...  {self.name}: {words} ({self.elapsed:.0f} s)", file=self._out, flush=True)

    def _line(self, words: str, end: str = "") -> None:
        clear = "\r\x1b[2K" if self._tty else ""
        print(f"{clear}{words}", end=end, file=self._out, flush=True)

    def run(
        self, what: str, argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        """Run a tool to its end with its output in the step's log. Raises SetupError when it fails; returns its output."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.detail(what)
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(str(word) for word in argv)}\n".encode())
            log.flush()
            begin = log.tell()
            try:
                child = subprocess.Popen(
                    [str(word) for word in argv], cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            except OSError as error:
                raise SetupError(f"{what} failed", str(error), "check that the program exists and may be run") from error
            self._wait(child, what, begin)
        output = self.log.read_bytes()[begin:].decode(errors="replace")
        if child.returncode != 0:
            raise explain(f"{what} failed (exit status {child.returncode})", output, str(self.log))
        return output

    def _wait(self, child: subprocess.Popen[bytes], what: str, begin: int) -> None:
        try:
            said, since = "", time.monotonic()
            while child.poll() is None:
                time.sleep(REDRAW_SECONDS)
                line = _last_line(self.log, begin)
                if line != said:
                    said, since = line, time.monotonic()
                silent = time.monotonic() - since > SILENT_SECONDS
                self.detail(what if silent or not said else said)
        except BaseException:
            # Ctrl-C reaches the child by the terminal; a termination signal reaches only us.
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            raise


def _last_line(log: Path, begin: int) -> str:
    with log.open("rb") as opened:
        start = max(begin, opened.seek(0, os.SEEK_END) - 2000)
        opened.seek(start)
        rows = opened.read().decode(errors="replace").replace("\r", "\n").splitlines()
    whole = rows if start == begin else rows[1:]
    return next((row.strip()[:100] for row in reversed(whole) if row.strip()), "")


def need_space(folder: Path, megabytes: int, what: str) -> None:
    """Raise SetupError unless the file system of `folder` has this much room."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free // MEGABYTE
    if free < megabytes:
        raise SetupError(
            f"{what} was not begun",
            f"it needs about {megabytes} MB under {existing}, and {free} MB are free",
            "make room, or move the cache with XDG_CACHE_HOME; then run the same command again",
        )
