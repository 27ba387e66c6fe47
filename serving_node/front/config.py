"""Settings of a front: its own ports and engine, and its owner's other fronts.

The list of members is the same in every file of a cluster, this front's own row included; that row's key must be this
front's. There is no chain and no directory: whom the owner lists is trusted (`docs/forwarding.md` section 9).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from network.config import EVENT_LOOPS, LOG_FORMATS, LOG_LEVELS, Address, Table, known_tables, parse_address, parse_digest
from network.errors import ConfigError
from serving_node.routing import POLICIES

MOST_MEMBERS = 1024


@dataclass(frozen=True, slots=True)
class Member:
    """One front of the owner: its name, its signing key, and where it listens."""

    name: str
    key: bytes
    address: Address


@dataclass(frozen=True, slots=True)
class FrontConfig:
    """Everything that a front's process reads from its file. Sizes in bytes, times in seconds."""

    name: str
    listen: Address
    ops: Address
    keys: Path
    group: str
    policy: str
    engine: Address
    slots: int
    cache_tokens: int
    most_inflight: int
    max_body: int
    answer_s: int
    stall_s: int
    drain_s: int
    log_level: str
    log_format: str
    event_loop: str
    members: tuple[Member, ...]


def from_mapping(raw: Mapping[str, object], home: Path) -> FrontConfig:
    """The checked settings of one front; `home` is the folder of its file. Raises ConfigError naming the key."""
    known_tables(raw, ("front", "engine", "member"))
    table, engine = Table(raw, "front"), Table(raw, "engine")
    name = _name(table, table.text("name"))
    config = FrontConfig(
        name=name,
        listen=_listening(table),
        ops=table.loopback("ops"),
        keys=table.path("keys", home),
        group=table.text("group"),
        policy=table.text("policy", "ttft", choices=sorted(POLICIES)),
        engine=_engine(engine),
        slots=engine.integer("slots", 0, high=4096),
        cache_tokens=engine.integer("cache_tokens", 0, high=1 << 40),
        most_inflight=engine.integer("most_inflight", 256, low=1, high=1 << 16),
        max_body=table.integer("max_body", 16 << 20, low=1024, high=1 << 30),
        answer_s=table.integer("answer_s", 600, low=1, high=86_400),
        stall_s=table.integer("stall_s", 120, low=1, high=86_400),
        drain_s=table.integer("drain_s", 30, high=3600),
        log_level=table.text("log_level", "info", choices=LOG_LEVELS),
        log_format=table.text("log_format", "line", choices=LOG_FORMATS),
        event_loop=table.text("event_loop", "auto", choices=EVENT_LOOPS),
        members=_members(raw.get("member", [])),
    )
    table.done()
    engine.done()
    if not config.group or len(config.group.encode()) > 128:
        raise table.bad("group", "must name what the engines serve, in at most 128 bytes")
    if name not in {member.name for member in config.members}:
        raise ConfigError(f"no [[member]] is called {name!r}: list this front, too, with its key and address")
    return config


def _listening(table: Table) -> Address:
    plain = table.flag("plain", False)
    address = table.listening("listen")
    if not address.is_loopback and not plain:
        raise table.bad(
            "listen",
            f"is {address}: a front speaks HTTP without TLS. Keep it on loopback behind a TLS proxy, or, on a network that "
            "only its owner can read, set front.plain = true",
        )
    return address


def _engine(table: Table) -> Address:
    url = table.url("url", table.text("url"))
    scheme, _, rest = url.partition("://")
    if scheme != "http" or "/" in rest:
        raise table.bad("url", f"is {url!r}: an engine is reached as http://HOST:PORT, without a path (the front adds /v1)")
    return parse_address(rest, "engine.url")


def _members(raw: object) -> tuple[Member, ...]:
    if not isinstance(raw, list) or not raw or len(raw) > MOST_MEMBERS:
        raise ConfigError(f"list 1 to {MOST_MEMBERS} fronts as [[member]], this one included")
    members = tuple(_member(Table({"member": row}, "member")) for row in raw)
    for what in ("name", "key", "address"):
        if len({getattr(member, what) for member in members}) != len(members):
            raise ConfigError(f"two [[member]] rows have the same {what}")
    return members


def _member(table: Table) -> Member:
    name = _name(table, table.text("name"))
    key = parse_digest(table.text("key"), "member.key")
    member = Member(name, key, parse_address(table.text("address"), "member.address"))
    table.done()
    return member


def _name(table: Table, name: str) -> str:
    if not name.isascii() or not name.replace("-", "").isalnum() or len(name) > 64:
        raise table.bad("name", f"is {name!r}: letters, digits and hyphens, at most 64")
    return name
