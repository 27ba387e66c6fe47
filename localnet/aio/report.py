"""The state of a localnet, as `status` prints it and as scripts read it (design section 10)."""

import asyncio
from typing import Any

from localnet.aio.home import Home
from localnet.aio.probe import Probe
from localnet.aio.processes import Process, pss_bytes
from localnet.plan import PlannedNode


async def status(home: Home, probe: Probe) -> dict[str, Any]:
    """The document of `localnet status --output json`."""
    living = home.herd.living()
    nodes = home.plan.nodes
    answers = await asyncio.gather(*(_ready(probe, node, living.get(node.name, [])) for node in nodes))
    views = {node.name: answer for node, answer in zip(nodes, answers, strict=True)}
    validators = home.plan.of("validator")
    alive = [node.address for node in validators if living.get(node.name) and not _paused(living[node.name])]
    chains = await asyncio.gather(*(probe.chain(rpc) for rpc in alive))
    heights = [view.height for view in chains if view is not None]
    epoch = await _epoch(probe, alive)
    quorum = sum(views[node.name] for node in validators) * 3 > 2 * len(validators)
    return {
        "chain_id": home.plan.manifest.chain_id,
        "height": max(heights, default=None),
        "epoch": epoch,
        "ready": quorum and views[home.plan.gateway.name],
        "openai_base_url": f"http://{home.plan.gateway.address}/v1",
        "nodes": [_row(node, living.get(node.name, []), views[node.name]) for node in nodes],
    }


async def _epoch(probe: Probe, alive: list[str]) -> int | None:
    for rpc in alive:
        record = await probe.epoch(rpc)
        if record is not None:
            return record.number
    return None


async def _ready(probe: Probe, node: PlannedNode, processes: list[Process]) -> bool:
    if not processes or _paused(processes):
        return False
    view = await probe.ops(node.metrics)
    return view is not None and view.name == node.name and view.ready


def _paused(processes: list[Process]) -> bool:
    return bool(processes) and all(process.state == "T" for process in processes)


def _row(node: PlannedNode, processes: list[Process], ready: bool) -> dict[str, Any]:
    leader = next((process.pid for process in processes if process.leader), None)
    state = "stopped" if not processes else "paused" if _paused(processes) else "running" if ready else "starting"
    return {
        "name": node.name,
        "role": node.role,
        "pid": leader,
        "address": node.address,
        "state": state,
        "pss_bytes": pss_bytes(processes),
        "honest": node.honest,
    }


def table(document: dict[str, Any]) -> str:
    """The same document for people."""
    head = f"{document['chain_id']}  height {document['height']}  epoch {document['epoch']}  "
    head += "ready" if document["ready"] else "not ready"
    rows = [f"{'NAME':<14}{'ROLE':<11}{'STATE':<10}{'PID':>8}{'MEMORY':>10}  ADDRESS"]
    for node in document["nodes"]:
        memory = f"{node['pss_bytes'] / 1e6:.0f} MB"
        honest = "" if node["honest"] else "  (dishonest by the manifest)"
        rows.append(
            f"{node['name']:<14}{node['role']:<11}{node['state']:<10}{node['pid'] or '-':>8}{memory:>10}"
            f"  {node['address']}{honest}"
        )
    total = sum(node["pss_bytes"] for node in document["nodes"]) / 1e9
    return "\n".join([head, f"OPENAI_BASE_URL={document['openai_base_url']}  memory {total:.2f} GB", "", *rows])
