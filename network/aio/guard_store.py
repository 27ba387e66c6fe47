"""The guards on disk: one file beside a role's keys, readable by its owner only, replaced whole or not at all."""

import asyncio
from pathlib import Path

from network.aio.files import replace
from network.errors import ConfigError, DecodeError
from network.guard_file import LONGEST_FILE, guards_from_json, guards_to_json
from network.guards import GuardRules, GuardSet

GUARDS_FILE = "guards.json"  # beside a role's keys


class GuardStore:
    """One role's guards. Whoever reads the file knows which relays see this user's address."""

    def __init__(self, path: Path, chain_id: str) -> None:
        self._path = path
        self._chain_id = chain_id
        self._one_at_a_time = asyncio.Lock()

    def load(self, rules: GuardRules) -> GuardSet:
        """The kept guards, or none yet. Raises ConfigError when the file cannot be used."""
        try:
            with self._path.open("rb") as file:
                raw = file.read(LONGEST_FILE + 1)
            if len(raw) > LONGEST_FILE:
                raise DecodeError(f"longer than {LONGEST_FILE} bytes")
            return guards_from_json(raw.decode(), self._chain_id, rules)
        except FileNotFoundError:
            return GuardSet(rules)
        except (OSError, UnicodeDecodeError, DecodeError) as error:
            raise ConfigError(
                f"{self._path}: the guards cannot be read ({error}); restore the file, or remove it to have new guards chosen"
            ) from error

    async def save(self, guards: GuardSet) -> None:
        """Replace the file. Raises OSError. A cancelled writing goes on, and the next one waits for it."""
        await asyncio.shield(asyncio.ensure_future(self._write(guards_to_json(guards, self._chain_id))))

    async def _write(self, text: str) -> None:
        async with self._one_at_a_time:
            await asyncio.to_thread(replace, self._path, text)
