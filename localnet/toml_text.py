"""TOML out of a mapping: the standard library reads the format and does not write it.

Only what the roles' configuration files hold: text, integers, booleans, lists of these, and tables.
"""

from collections.abc import Mapping
from typing import Any


def dump(mapping: Mapping[str, Any]) -> str:
    """The TOML text of a mapping of tables; plain values come before the tables, as the format demands."""
    return "\n".join(_lines(mapping, "")) + "\n"


def _lines(mapping: Mapping[str, Any], prefix: str) -> list[str]:
    lines = [f"{key} = {_value(value)}" for key, value in mapping.items() if not isinstance(value, Mapping)]
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            lines += ([""] if lines else []) + [f"[{prefix}{key}]", *_lines(value, f"{prefix}{key}.")]
    return lines


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'"{_escaped(value)}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"a configuration value cannot be a {type(value).__name__}")


def _escaped(text: str) -> str:
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
