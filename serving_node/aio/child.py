"""One engine process: started on a leash, watched, ended for good.

The sidecar never outlives its wish to serve: when the child dies unasked, the watcher says so and the caller decides. What
the child writes is kept to its last lines for the error message of a failed start, and never logged after it, since an
engine's words may hold a prompt's.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence

from serving_node.aio import leash

END_S = 5.0
_KEPT_LINES = 12


class ChildProcess:
    """A child tied to this process; `first_line` reads what it says once it is up."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        self._environment = None if environment is None else {**os.environ, **environment}
        self._process: asyncio.subprocess.Process | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._drains: list[asyncio.Task[None]] = []
        self._first = b""
        self._spoke = asyncio.Event()

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs or before it started."""
        return self._process.returncode if self._process else None

    async def start(self, given: bytes = b"") -> None:
        """Start it and hand it `given` on stdin. Raises OSError when the command does not exist."""
        tied = [sys.executable, "-P", leash.__file__, str(os.getpid())]
        self._process = await asyncio.create_subprocess_exec(
            *tied,
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            limit=1 << 20,
        )
        assert self._process.stdin is not None
        self._drains = [asyncio.create_task(self._read_stdout()), asyncio.create_task(self._read_stderr())]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(given)
            await self._process.stdin.drain()
            self._process.stdin.close()

    async def first_line(self) -> bytes:
        """The first line on stdout; empty when it ended without one."""
        await self._spoke.wait()
        return self._first

    async def wait(self) -> int:
        """Until it ends: its exit code."""
        assert self._process is not None
        return await self._process.wait()

    def last_words(self) -> str:
        """The end of what it wrote, on one line."""
        return " / ".join(line for line in self._lines if line)[-800:]

    async def close(self) -> None:
        """End it: asked first, killed after END_S."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(END_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        for drain in self._drains:
            drain.cancel()
        await asyncio.gather(*self._drains, return_exceptions=True)

    async def _read_stdout(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        try:
            self._first = await self._process.stdout.readline()
        finally:
            self._spoke.set()
        self._lines.append(self._first.decode(errors="replace").strip())
        await self._keep_last_lines(self._process.stdout)

    async def _read_stderr(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        await self._keep_last_lines(self._process.stderr)

    async def _keep_last_lines(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line beyond the reader's limit: not worth keeping
                continue
            if not line:
                return
            self._lines.append(line.decode(errors="replace").strip())
