"""Ties a process to its parent: when the parent dies, however it dies, the kernel kills the child.

`python leash.py PARENT_PID COMMAND …` ties itself, then becomes COMMAND; the tie survives the exec.
Linux only, like the rest of the sidecar's process handling.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def bind_to(parent: int) -> None:
    """Die with `parent`. Exits at once when it is gone already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    bind_to(int(sys.argv[1]))
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"cannot run {sys.argv[2]}: {error.strerror}")
