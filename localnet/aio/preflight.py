"""Everything that can be known to fail before the first process is started: one report, nothing left behind."""

import errno
import os
import resource
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

from localnet.aio.home import Home
from localnet.errors import PREFLIGHT, LocalnetError
from localnet.plan import HOST, PlannedNode

FREE_MEGABYTES = 300
OPEN_FILES = 1024


def check(home: Home, starting: Iterable[PlannedNode]) -> None:
    """Raise LocalnetError naming every obstacle to starting these nodes."""
    nodes = list(starting)
    problems = [*_files(home), *_machine(home.path)]
    if problems:
        raise LocalnetError("the network was not started: " + "; ".join(problems), "see above", PREFLIGHT)
    taken = [(port, node.name) for node in nodes for port in node.ports if not _free(port)]
    if taken:
        shown = ", ".join(f"{port} ({name})" for port, name in taken[:6])
        more = f" and {len(taken) - 6} more" if len(taken) > 6 else ""
        raise LocalnetError(
            f"the network was not started: ports on {HOST} are in use: {shown}{more}",
            "end what listens there (another network? `planetserve localnet down`), or move all ports: "
            "planetserve localnet up --port-base 12000 --home OTHER",
            PREFLIGHT,
        )


def _files(home: Home) -> list[str]:
    wanted: set[str] = set()
    for node in home.plan.nodes:
        if node.role == "validator":
            wanted |= {node.config["comet"]["binary"], node.config["verifier"]["model_path"]}
            wanted.add(node.config["verifier"]["reference"])
        if node.role == "model":
            wanted.add(node.config["engine"]["model_path"])
    return [f"{path} is missing (run `make setup`)" for path in sorted(wanted) if not Path(path).is_file()]


def _machine(path: Path) -> list[str]:
    problems = []
    free = shutil.disk_usage(path).free // 1_000_000
    if free < FREE_MEGABYTES:
        problems.append(f"{free} MB are free under {path}, and a network needs {FREE_MEGABYTES} (make room)")
    if not os.access(path, os.W_OK):
        problems.append(f"{path} cannot be written (use --home)")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES:
        if hard < OPEN_FILES:
            problems.append(f"only {hard} open files are allowed, and a node needs {OPEN_FILES} (ulimit -n)")
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
    return problems


def _free(port: int) -> bool:
    """Whether a server could listen there now. SO_REUSEADDR, as servers set it: connections that linger do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
            tried.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
