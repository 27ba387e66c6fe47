"""Our own side of the side by side: one front per engine, every one an entry point, none in the middle."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from evals.forwarding.router_figures import NONE, OURS
from evals.forwarding.routers import Launch, Router
from network.aio.keys import load_or_create

PORTS_EACH = 2


def fronts(policy: str) -> Callable[[Sequence[int], Sequence[str], Path], list[Launch]]:
    """Fronts of this policy: two ports each, one for users and fellow fronts, one for figures."""

    def launches(ports: Sequence[int], engines: Sequence[str], folder: Path) -> list[Launch]:
        names = [f"front-{number}" for number in range(len(engines))]
        listen = [f"127.0.0.1:{ports[PORTS_EACH * number]}" for number in range(len(engines))]
        keys = [load_or_create(folder / f"{name}.keys").signing.public.hex() for name in names]
        members = [
            {"name": name, "key": key, "address": address} for name, key, address in zip(names, keys, listen, strict=True)
        ]
        found = []
        for number, (name, engine) in enumerate(zip(names, engines, strict=True)):
            ops = f"127.0.0.1:{ports[PORTS_EACH * number + 1]}"
            front = {"name": name, "listen": listen[number], "ops": ops, "keys": f"{name}.keys", "group": "bench"}
            text = table("front", {**front, "policy": policy, "log_level": "warning"}) + table("engine", {"url": engine})
            path = folder / f"{name}.toml"
            path.write_text(text + "".join(table("member", member, many=True) for member in members))
            argv = (sys.executable, "-m", "serving_node.front", "--config", str(path))
            at = f"http://{ops}"
            found.append(Launch(argv, ports[PORTS_EACH * number], f"{at}/status", counters=f"{at}/metrics"))
        return found

    return launches


def table(name: str, values: dict[str, str], *, many: bool = False) -> str:
    """One table of a TOML file; a JSON string is a TOML string."""
    head = f"[[{name}]]" if many else f"[{name}]"
    return head + "\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()) + "\n"


def ours(engines: int) -> tuple[Router, Router]:
    """Forwarding, and the same fronts without."""
    return (
        Router(OURS, "", PORTS_EACH * engines, fronts("ttft")),
        Router(NONE, "", PORTS_EACH * engines, fronts("none")),
    )
