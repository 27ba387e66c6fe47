"""What an ablation drives: a real localnet through its gateway, or fronts beside real engines, entered by turns."""

import asyncio
import json
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from evals.forwarding.fleets import embedded_fleet
from evals.forwarding.ours import PORTS_EACH, fronts
from evals.forwarding.router_processes import running
from evals.forwarding.routers import Router

NODES = 4
SLOTS, CONTEXT = 2, 4096  # as the localnet gives its engines
PLANETSERVE = str(Path(sys.executable).with_name("planetserve"))
MANIFEST = Path(__file__).resolve().parents[2] / "localnet/manifests/default.toml"


class NotUp(Exception):
    """The network did not start; the message quotes it."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Where requests go, and the model to name."""

    urls: list[str]
    model: str


@asynccontextmanager
async def through_gateway(policy: str, port_base: int, model: Path) -> AsyncIterator[Entries]:
    """A localnet of four honest model nodes of this policy, started cold and wiped at the end. `model` is the cache's."""
    folder = Path(tempfile.mkdtemp(prefix="planetserve-"))
    manifest, home = folder / "manifest.toml", str(folder / "home")
    manifest.write_text(manifest_of(MANIFEST.read_text(), policy))
    try:
        await _planetserve("up", "--home", home, "--manifest", str(manifest), "--port-base", str(port_base))
        status = json.loads(await _planetserve("status", "--home", home, "--output", "json"))
        yield Entries([status["openai_base_url"]], "smollm2-135m-instruct")
    finally:
        await _planetserve("down", "--home", home, "--wipe")
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def through_fronts(policy: str, port_base: int, model: Path) -> AsyncIterator[Entries]:
    """Four llama.cpp servers with a front each, every front an entry."""
    router = Router(f"fronts {policy}", "", PORTS_EACH * NODES, fronts(policy))
    ports = range(port_base, port_base + PORTS_EACH * NODES)
    engines = range(port_base + 50, port_base + 50 + NODES)
    with tempfile.TemporaryDirectory(prefix="planetserve-") as folder:
        async with (
            embedded_fleet(engines, model, SLOTS, CONTEXT) as fleet,
            running(router, ports, fleet.urls, Path(folder)) as started,
        ):
            await asyncio.sleep(2.0)  # the fronts agree on the terms of their fingerprints
            yield Entries([f"{url}/v1" for url in started.entries], fleet.model)


ENTRIES = {"gateway": through_gateway, "nodes": through_fronts}


def manifest_of(default: str, policy: str) -> str:
    """The default manifest with this policy at every model node, all of them honest."""
    honest = re.sub(r"^engine\.model = .*\n", "", default, flags=re.MULTILINE)
    return re.sub(r'(\[\[model_node\]\]\nname = "[^"]+"\ngroup = "[^"]+"\n)', rf'\1routing.policy = "{policy}"\n', honest)


async def _planetserve(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        PLANETSERVE, "localnet", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode:
        raise NotUp(
            f"planetserve localnet {words[0]} failed ({process.returncode}): {err.decode(errors='replace').strip()[-600:]}"
        )
    return out.decode()
