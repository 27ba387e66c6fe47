"""A cache that looks finished, so that homes can be made without a set-up."""

from pathlib import Path

import pytest

from localnet.aio.commands import DEFAULT_MANIFEST
from localnet.aio.home import Home, create
from localnet.setup.pins import COMETBFT, Layout, layout


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A layout whose CometBFT and models are stand-ins."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    made = layout(tmp_path / "checkout", {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    for path in (made.model("F16"), made.model("Q4_0"), made.reference, made.cometbft):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {COMETBFT.version}\n")
        path.chmod(0o755)
    return made


@pytest.fixture
def home(tmp_path: Path, place: Layout) -> Home:
    """A new home of the default network, on ports where no network of the developer's is likely to be."""
    return create(tmp_path / "net", DEFAULT_MANIFEST.read_text(), 31_000, place)
