"""An engine's process: what it says first, its last words, and that it never outlives its parent."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from serving_node.aio import child
from serving_node.aio.child import ChildProcess

SLEEPER = [sys.executable, "-c", "import sys, time; print(sys.stdin.readline().strip(), flush=True); time.sleep(600)"]
PARENT = """
import asyncio, sys
from serving_node.aio.child import ChildProcess

async def main():
    engine = ChildProcess([sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"])
    await engine.start()
    print((await engine.first_line()).decode().strip(), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_it_is_given_its_settings_and_ends_when_told() -> None:
    process = ChildProcess(SLEEPER)
    await process.start(b"settings\n")
    assert await process.first_line() == b"settings\n" and process.running
    await process.close()
    assert not process.running and process.exit_code is not None


async def test_one_that_does_not_listen_is_killed() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    process = ChildProcess([sys.executable, "-c", deaf])
    await process.start()
    await process.first_line()
    patience, child.END_S = child.END_S, 0.2
    try:
        await process.close()
    finally:
        child.END_S = patience
    assert process.exit_code == -signal.SIGKILL


async def test_its_last_words_are_kept() -> None:
    process = ChildProcess([sys.executable, "-c", "import sys; print('no such model', file=sys.stderr); sys.exit(3)"])
    await process.start()
    assert await process.first_line() == b"" and await process.wait() == 3
    await asyncio.sleep(0.05)
    assert "no such model" in process.last_words()
    await process.close()


async def test_it_dies_with_its_parent() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert _alive(pid)
    parent.kill()
    await parent.wait()
    for _ in range(200):
        if not _alive(pid):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the child outlived its parent")


def _alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
