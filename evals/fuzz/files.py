"""Targets of the small files that a validator's processes leave for one another: the signing mark, upgrades, plans."""

from collections.abc import Callable

from abci_app.guard import Signed, parse_signed, refuse_older, render_signed
from abci_app.upgrades import Environment, Plan, Upgrades, parse_plan, parse_upgrades, render_plan, render_upgrades
from evals.fuzz.engine import Target
from evals.fuzz.mutate import bend_json
from network.errors import ConfigError


def targets() -> list[Target]:
    """One per file."""
    upgrades = Upgrades((Environment("second", "bin/python", 7), Environment("third", "bin/python3", 0)), "second")
    return [
        _file("mark", render_signed(Signed(12, 1, 3)), _mark),
        _file("upgrades", render_upgrades(upgrades), lambda raw: parse_upgrades(raw, "file")),
        _file("plan", render_plan(Plan("second", 9, 2)), lambda raw: parse_plan(raw, "file")),
    ]


def _mark(raw: bytes) -> object:
    """What is read must be read back alike, or the mark would move by being copied."""
    signed = parse_signed(raw, "file")
    assert parse_signed(render_signed(signed).encode(), "file") == signed
    refuse_older(signed, signed, "file")
    return signed


def _file(name: str, text: str, read: Callable[[bytes], object]) -> Target:
    def run(raw: bytes) -> str:
        try:
            read(raw)
        except ConfigError as error:
            assert "file" in str(error), "a refusal must name the file"
            return str(error)
        return "taken"

    return Target(f"files/{name}", "what was written, or a refusal that names the file", [text.encode()], run, bend_json)
