"""Settings of a model node: the `[node]` table of every role, its engine, and its routing policy.

`context` is the engine's whole context in tokens, shared evenly by its slots: a request may use `context // slots`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from network.config import Address, NodeConfig, Table, known_tables, node_config
from serving_node.limits import Limits, limits_of
from serving_node.routing import POLICIES

ENGINES = ("embedded", "vllm")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One engine. `model_path` is what it loads; `model_hash` is what the node registers and signs as."""

    kind: str
    group: str
    model_path: Path
    model_hash: bytes
    address: Address
    threads: int
    context: int
    slots: int
    url: str
    command: str

    @property
    def request_context(self) -> int:
        """Tokens that one request may use, prompt and answer together."""
        return self.context // self.slots


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """Everything a model node's process reads from its file."""

    node: NodeConfig
    engine: EngineConfig
    policy: str
    limits: Limits


def from_mapping(raw: Mapping[str, object], home: Path) -> ServingConfig:
    """The checked settings of one model node; `home` is the folder of its file. Raises ConfigError naming the key."""
    known_tables(raw, ("node", "engine", "routing", "limits"))
    routing = Table(raw, "routing", optional=True)
    policy = routing.text("policy", "ttft", choices=sorted(POLICIES))
    routing.done()
    return ServingConfig(node_config(raw, home, "public"), _engine(Table(raw, "engine"), home), policy, limits_of(raw))


def _engine(table: Table, home: Path) -> EngineConfig:
    url = table.text("url", "")
    config = EngineConfig(
        kind=table.text("kind", choices=ENGINES),
        group=table.text("group"),
        model_path=table.path("model_path", home),
        model_hash=table.digest("model_hash"),
        address=table.loopback("address"),
        threads=table.integer("threads", 1, low=1, high=1024),
        context=table.integer("context", 4096, low=256, high=1 << 24),
        slots=table.integer("slots", 2, low=1, high=1024),
        url=table.url("url", url) if url else "",
        command=table.text("command", "vllm"),
    )
    table.done()
    if not config.group or len(config.group.encode()) > 128:
        raise table.bad("group", "must name a model group, in at most 128 bytes")
    if config.request_context < 128:
        raise table.bad("context", f"leaves {config.request_context} tokens to each of {config.slots} slots; at least 128")
    if config.url and config.kind != "vllm":
        raise table.bad("url", 'is for kind = "vllm" only; the embedded engine is always a child of this process')
    return config
