"""Reading checked settings out of a parsed TOML file, and the `[node]` table that every role shares.

A role's own `config.py` opens its tables with `Table`, takes each key once, and calls `done()`, which refuses what nobody
took. A value that cannot be used stops the start with the key's name; there is no falling back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from network.errors import ConfigError
from network.ids import parse_hex

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("line", "json")
TLS_RULES = ("off-loopback", "always")
EVENT_LOOPS = ("auto", "uvloop", "asyncio")
REACHABILITY_RULES = ("check", "assume")
TRUSTING_PERIOD_S = 7 * 24 * 3600
# Who comes to a role's port: this machine only; neighbours, over TLS; or whoever the role itself lets in.
Port = Literal["loopback", "public", "guarded"]


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port to listen on or to call."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can mean itself by it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_wildcard(self) -> bool:
        """Whether it means every address of a machine, so that nobody can call it."""
        return self.host in ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """A block that a person vouches for, by height and hash: where a client begins that came after the genesis expired."""

    height: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What every role's process needs to know: its name, ports, chain, and keys."""

    name: str
    chain_id: str
    listen: Address
    metrics: Address
    family: str
    rpc: tuple[str, ...]
    genesis: Path
    keys: Path
    log_level: str
    trust: TrustRoot | None = None
    trusting_period_s: int = TRUSTING_PERIOD_S
    log_format: str = "line"
    advertise: Address | None = None
    tls: str = "off-loopback"
    event_loop: str = "auto"
    reachability: str = "check"

    @property
    def public(self) -> Address:
        """Where others find this node: what it registers."""
        return self.advertise or self.listen

    @property
    def serves_tls(self) -> bool:
        """Whether neighbours speak TLS to this node's port: they know its registered address only."""
        return needs_tls(self.public, always=self.tls == "always")


class Table:
    """One TOML table, read key by key; every complaint names `table.key`."""

    __slots__ = ("_name", "_rest")

    def __init__(self, raw: Mapping[str, object], name: str, *, optional: bool = False) -> None:
        rows = raw.get(name, {} if optional else None)
        if not isinstance(rows, Mapping):
            raise ConfigError(f"the configuration has no table [{name}]")
        self._name = name
        self._rest: dict[str, object] = dict(rows)

    def text(self, key: str, default: str | None = None, *, choices: Iterable[str] = ()) -> str:
        """A string; with `choices`, one of them."""
        value = self._take(key, default)
        if not isinstance(value, str):
            raise self.bad(key, "must be a string")
        allowed = tuple(choices)
        if allowed and value not in allowed:
            raise self.bad(key, f"is {value!r}, must be one of {', '.join(allowed)}")
        return value

    def integer(self, key: str, default: int | None = None, *, low: int = 0, high: int = 2**31) -> int:
        """An integer within low..high."""
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.bad(key, f"must be an integer within {low}..{high}")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        """true or false."""
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise self.bad(key, "must be true or false")
        return value

    def has(self, key: str) -> bool:
        """Whether the key is there and nobody has taken it."""
        return key in self._rest

    def table(self, key: str) -> "Table":
        """A table inside this one."""
        inner = Table(self._rest, key)
        del self._rest[key]
        inner._name = f"{self._name}.{key}"
        return inner

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of at least one string."""
        value = self._take(key, None)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise self.bad(key, "must be a list of strings, at least one")
        return tuple(value)

    def path(self, key: str, home: Path) -> Path:
        """A path, relative to the configuration file's folder."""
        value = self.text(key)
        if not value:
            raise self.bad(key, "must be a path")
        return (home / value).resolve()

    def digest(self, key: str) -> bytes:
        """32 bytes as 64 hexadecimal digits."""
        return parse_digest(self.text(key), f"{self._name}.{key}")

    def loopback(self, key: str) -> Address:
        """An address to listen on that only this machine reaches."""
        address = parse_address(self.text(key), f"{self._name}.{key}")
        if not address.is_loopback:
            raise self.bad(key, f"is {address}: it listens on loopback only (127.0.0.1:PORT)")
        return address

    def listening(self, key: str) -> Address:
        """An address to listen on, of whichever interface."""
        address = parse_address(self.text(key), f"{self._name}.{key}")
        if not address.is_loopback and not _is_ip(address.host):
            raise self.bad(key, f"is {address}: to listen it takes an IP address of this machine, or 0.0.0.0 for all of them")
        return address

    def url(self, key: str, value: str) -> str:
        """Check an http(s) URL that was taken from this table."""
        if not value.startswith(("http://", "https://")):
            raise self.bad(key, f"has {value!r}, must begin with http:// or https://")
        return value.rstrip("/")

    def bad(self, key: str, complaint: str) -> ConfigError:
        """The error to raise about a key of this table."""
        return ConfigError(f"{self._name}.{key} {complaint}")

    def done(self) -> None:
        """Refuse the keys that nobody took."""
        if self._rest:
            raise ConfigError(f"unknown keys: {', '.join(f'{self._name}.{key}' for key in sorted(self._rest))}")

    def _take(self, key: str, default: object) -> object:
        value = self._rest.pop(key, default)
        if value is None:
            raise self.bad(key, "is missing")
        return value


def parse_address(text: str, what: str = "address") -> Address:
    """`host:port` or `[v6]:port`. Raises ConfigError naming `what`."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"{what} is {text!r}, must be HOST:PORT")
    return Address(host, int(port))


def parse_digest(text: str, what: str) -> bytes:
    """32 bytes as 64 hexadecimal digits. Raises ConfigError naming `what`."""
    raw = parse_hex(text, 32)
    if raw is None:
        raise ConfigError(f"{what} must be 64 hexadecimal digits")
    return raw


def known_tables(raw: Mapping[str, object], names: Iterable[str]) -> None:
    """Refuse tables that a role does not read."""
    unknown = sorted(set(raw) - set(names))
    if unknown:
        raise ConfigError(f"unknown tables: {', '.join(f'[{name}]' for name in unknown)}")


def needs_tls(address: Address, *, always: bool) -> bool:
    """The one rule of every link: whether TLS is spoken to a node that is registered at this address."""
    return always or not address.is_loopback


def node_config(raw: Mapping[str, object], home: Path, port: Port = "loopback") -> NodeConfig:
    """The `[node]` table of a role's configuration; `home` is the folder of the file, `port` who comes to its port."""
    table = Table(raw, "node")
    config = NodeConfig(
        name=table.text("name"),
        chain_id=table.text("chain_id"),
        listen=table.loopback("listen") if port == "loopback" else table.listening("listen"),
        metrics=table.loopback("metrics"),
        family=table.text("family", ""),
        rpc=tuple(table.url("rpc", value) for value in table.texts("rpc")),
        genesis=table.path("genesis", home),
        keys=table.path("keys", home),
        log_level=table.text("log_level", "info", choices=LOG_LEVELS),
        log_format=table.text("log_format", "line", choices=LOG_FORMATS),
        trust=_trust_root(table),
        trusting_period_s=table.integer("trusting_period_s", TRUSTING_PERIOD_S, low=60),
        advertise=_advertised(table) if port == "public" else None,
        tls=table.text("tls", "off-loopback", choices=TLS_RULES),
        event_loop=table.text("event_loop", "auto", choices=EVENT_LOOPS),
        reachability=table.text("reachability", "check", choices=REACHABILITY_RULES) if port == "public" else "check",
    )
    table.done()
    for key, value in (("name", config.name), ("family", config.family)):
        if len(value.encode()) > 64:
            raise table.bad(key, "must be at most 64 bytes")
    if not config.name:
        raise table.bad("name", "must not be empty")
    if port == "public":
        _check_public(table, config)
    return config


def _advertised(table: Table) -> Address | None:
    """`advertise`, where others find a node whose own address they cannot use."""
    text = table.text("advertise", "")
    return parse_address(text, "node.advertise") if text else None


def _check_public(table: Table, config: NodeConfig) -> None:
    """Refuse addresses that no neighbour could use, or that neighbours would speak plainly to."""
    if config.public.is_wildcard:
        key = "advertise" if config.advertise else "listen"
        raise table.bad(key, f'is {config.public}, which nobody can call: set node.advertise = "HOST:PORT" as others see it')
    if not config.listen.is_loopback and not config.serves_tls:
        raise table.bad(
            "advertise",
            f"is {config.public}: neighbours speak plainly to loopback, but the port is open to other machines on "
            f'{config.listen}; advertise the outer address, or set node.tls = "always" on every node',
        )


def _trust_root(table: Table) -> TrustRoot | None:
    """`trust_height` and `trust_hash`, both or neither."""
    height = table.integer("trust_height", 0)
    digest = table.text("trust_hash", "")
    if not height and not digest:
        return None
    if not height or not digest:
        raise table.bad("trust_height" if digest else "trust_hash", "is missing: a trust root needs both")
    return TrustRoot(height, parse_digest(digest, "node.trust_hash"))


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
