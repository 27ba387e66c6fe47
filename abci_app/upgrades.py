"""Which Python runs the application: one environment per named upgrade of the chain, and the one in use. Pure.

A chain decides by vote to upgrade at a height. There the old release ends with exit code 4 and leaves a note with the
plan; the supervisor then goes on with the environment that the operator registered under the upgrade's name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from network.errors import ConfigError

NEEDED_EXIT = 4  # the application's and the supervisor's: this release cannot go on, whatever is started again


@dataclass(frozen=True, slots=True)
class Plan:
    """An upgrade the chain has decided on: what the application leaves behind when it ends."""

    name: str
    height: int
    version: int


@dataclass(frozen=True, slots=True)
class Environment:
    """The Python of one upgrade's release. `height` is where it took over, 0 before."""

    name: str
    python: str
    height: int = 0


@dataclass(frozen=True, slots=True)
class Upgrades:
    """The registered environments. `current` names the one in use; empty for the release that the supervisor is of."""

    environments: tuple[Environment, ...] = ()
    current: str = ""

    def find(self, name: str) -> Environment | None:
        """The environment registered under an upgrade's name."""
        return next((entry for entry in self.environments if entry.name == name), None)

    def add(self, name: str, python: str) -> "Upgrades":
        """With one more. Raises ConfigError for a name that is taken or unfit."""
        if not name or len(name) > 64 or not name.isprintable():
            raise ConfigError(f"{name!r} cannot be an upgrade's name: 1 to 64 printable characters")
        if self.find(name) is not None:
            raise ConfigError(f"the upgrade {name!r} has an environment already; `upgrade remove` it first")
        return replace(self, environments=(*self.environments, Environment(name, python)))

    def remove(self, name: str) -> "Upgrades":
        """Without one. Raises ConfigError for the one in use: the releases before it cannot go on from its height."""
        if self.find(name) is None:
            raise ConfigError(f"no environment is registered for the upgrade {name!r}")
        if name == self.current:
            raise ConfigError(f"the upgrade {name!r} is in use; an older release cannot go on past its height")
        return replace(self, environments=tuple(entry for entry in self.environments if entry.name != name))

    def switch(self, plan: Plan) -> "Upgrades":
        """With the plan's environment in use from its height on. Raises ConfigError when there is none, or it is in use
        and was not new enough."""
        found = self.find(plan.name)
        wanted = f"the chain upgrades to {plan.name!r} (application version {plan.version}) at height {plan.height}"
        if found is None:
            raise ConfigError(
                f"{wanted}, and this release stops there; install the release of that name into an environment of its own, run "
                f"`planetserve validator upgrade add {plan.name} --python PATH`, and start again"
            )
        if plan.name == self.current:
            raise ConfigError(
                f"{wanted}, and {found.python}, registered for it, is not that release; install the right one there, and "
                "start again"
            )
        entries = tuple(replace(entry, height=plan.height) if entry is found else entry for entry in self.environments)
        return Upgrades(entries, plan.name)


def parse_upgrades(raw: bytes, where: str) -> Upgrades:
    """The registry in a file. Raises ConfigError naming `where`."""
    document = _document(raw, where)
    try:
        entries = tuple(Environment(str(e["name"]), str(e["python"]), int(e["height"])) for e in document["environments"])
        upgrades = Upgrades(entries, str(document["current"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{where} is not a registry of upgrades ({error!r})") from error
    if upgrades.current and upgrades.find(upgrades.current) is None:
        raise ConfigError(f"{where} has {upgrades.current!r} in use and no environment of that name")
    return upgrades


def render_upgrades(upgrades: Upgrades) -> str:
    """The registry as a file."""
    rows = [{"name": entry.name, "python": entry.python, "height": entry.height} for entry in upgrades.environments]
    return json.dumps({"environments": rows, "current": upgrades.current}, indent=2) + "\n"


def parse_plan(raw: bytes, where: str) -> Plan:
    """The note of an application that ended for an upgrade. Raises ConfigError naming `where`."""
    document = _document(raw, where)
    try:
        return Plan(str(document["name"]), int(document["height"]), int(document["version"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{where} is not an upgrade's plan ({error!r})") from error


def render_plan(plan: Plan) -> str:
    """The note that the application leaves."""
    return json.dumps({"name": plan.name, "height": plan.height, "version": plan.version}) + "\n"


def _document(raw: bytes, where: str) -> Mapping[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{where} is not a JSON object")
    return document
