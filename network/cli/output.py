"""What commands print: JSON for scripts, aligned columns for people, and errors with what to do."""

import asyncio
import json
import sys
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from network.aio.chain_client import ChainUnavailable, ProofRejected
from network.aio.keys import KeyFileError
from network.errors import ConfigError, PlanetServeError

FAILED, USAGE, PREFLIGHT, UNREACHABLE, KEYS = 1, 2, 3, 4, 5


class CommandFailed(Exception):
    """A command that cannot do what it was asked; `code` is its exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run a command's work; errors become one line on stderr and an exit code."""
    try:
        return asyncio.run(work)
    except CommandFailed as error:
        return fail(str(error), error.code)
    except ChainUnavailable as error:
        return fail(str(error), UNREACHABLE)
    except (ProofRejected, KeyFileError) as error:
        return fail(str(error), KEYS)
    except ConfigError as error:
        return fail(str(error), PREFLIGHT)
    except PlanetServeError as error:
        return fail(str(error), FAILED)


def fail(message: str, code: int) -> int:
    """Say what is wrong; returns the exit code."""
    print(f"error: {message}", file=sys.stderr)
    return code


def show_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def show_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Aligned columns with a head line; says so when there are no rows."""
    cells = [[word(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(line[at]) for line in [list(columns), *cells]) for at in range(len(columns))]
    for line in [[name.upper() for name in columns], *cells]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    if not rows:
        print("(none)")


def show_fields(document: Mapping[str, Any], *, indent: str = "") -> None:
    """One `name  value` line per field; lists of rows indented below their name."""
    width = max((len(name) for name in document), default=0)
    for name, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            print(f"{indent}{name}")
            for row in value:
                show_fields(row, indent=f"{indent}  ")
                print()
        elif isinstance(value, Mapping):
            print(f"{indent}{name}")
            show_fields(value, indent=f"{indent}  ")
        else:
            print(f"{indent}{name.ljust(width)}  {word(value)}")


def word(value: Any) -> str:
    """A value as one word of a table."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(word(item) for item in value) or "-"
    return str(value)
