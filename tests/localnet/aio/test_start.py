"""A node that dies while the network starts is named, with its last words."""

import io
from pathlib import Path

import aiohttp
import pytest

from localnet.aio import render
from localnet.aio.home import Home
from localnet.aio.probe import Probe
from localnet.aio.start import Start, last_words
from localnet.errors import LocalnetError


async def test_a_death_stops_the_start(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "abci_app.py").write_text("import sys; sys.exit('the port of my dreams is taken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    render.write(home)
    started: list[str] = []
    async with aiohttp.ClientSession() as session:
        with pytest.raises(LocalnetError, match=r"validator-0 ended while it started[^$]*port of my dreams"):
            await Start(home, Probe(session), io.StringIO(), started).run(home.plan.of("validator")[:1])
    assert started == ["validator-0"] and home.herd.living() == {}


def test_last_words(tmp_path: Path) -> None:
    assert last_words(tmp_path, "a") == "It wrote no log."
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log").write_text("")
    assert last_words(tmp_path, "a") == "Its log is empty."
    (tmp_path / "a" / "log").write_text("".join(f"row {i}\n" for i in range(20)))
    assert "row 19" in last_words(tmp_path, "a") and "row 3\n" not in last_words(tmp_path, "a")
