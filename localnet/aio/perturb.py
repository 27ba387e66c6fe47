"""What `localnet kill|pause|resume|start NAME` do to one node of a running network."""

import signal

from localnet.aio import preflight, render
from localnet.aio.home import Home
from localnet.errors import USAGE, LocalnetError
from localnet.plan import PlannedNode


def node_of(home: Home, name: str) -> PlannedNode:
    """The node of this name. Raises LocalnetError with the names there are."""
    for node in home.plan.nodes:
        if node.name == name:
            return node
    names = ", ".join(node.name for node in home.plan.nodes)
    raise LocalnetError(f"no node is named {name!r}", f"use one of: {names}", USAGE)


def kill(home: Home, name: str) -> str:
    """End a node's processes at once, without a chance to clean up."""
    count = home.herd.kill(node_of(home, name).name)
    return f"{name}: killed, {count} processes" if count else f"{name} was not running"


def pause(home: Home, name: str) -> str:
    """Stop a node's processes where they stand; it keeps its connections and answers nobody."""
    count = home.herd.signal(node_of(home, name).name, signal.SIGSTOP)
    return _acted(count, name, "paused")


def resume(home: Home, name: str) -> str:
    """Let a paused node go on."""
    count = home.herd.signal(node_of(home, name).name, signal.SIGCONT)
    return _acted(count, name, "resumed")


def start(home: Home, name: str) -> str:
    """Start a node that is not running, with the configuration and keys that it has."""
    node = node_of(home, name)
    if home.herd.living().get(name):
        return f"{name} is running already"
    preflight.check(home, [node])
    render.write_node(home, node)
    return f"{name}: started, pid {home.herd.start(name, node.module)}"


def _acted(count: int, name: str, what: str) -> str:
    if count == 0:
        raise LocalnetError(f"{name} is not running", f"start it: planetserve localnet start {name}")
    return f"{name}: {what}, {count} processes"
