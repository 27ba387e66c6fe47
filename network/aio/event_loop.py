"""Which event loop a role runs on: uvloop where it is installed (the extra `speed`), asyncio's own otherwise."""

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

from network.errors import ConfigError

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], kind: str) -> T:
    """`asyncio.run` on the loop that `[node] event_loop` names. Raises ConfigError when that is not installed."""
    try:
        factory = loop_factory(kind)
    except ConfigError:
        main.close()
        raise
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def loop_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes a loop of this kind: "auto", "uvloop" or "asyncio"."""
    installed = find_spec("uvloop") is not None
    if kind == "uvloop" and not installed:
        raise ConfigError('node.event_loop is "uvloop", which is not installed: pip install "planetserve[speed]"')
    if kind == "asyncio" or not installed:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory
