"""Other people's routers: the lock, and that every one of them stays on loopback."""

from pathlib import Path

import pytest

from evals.forwarding import routers
from evals.forwarding.routers import LOCK, PACKAGES, ROUTERS, blocks, missing, production_stack

ENGINES = ["http://127.0.0.1:1", "http://127.0.0.1:2"]


def test_everything_in_the_lock_has_a_hash_and_nothing_an_address() -> None:
    text = LOCK.read_text()
    assert "://" not in text
    found = blocks(text)
    assert set(PACKAGES) <= set(found)
    assert all("--hash=sha256:" in block and "==" in block.splitlines()[0] for block in found.values())
    assert "".join(found.values()) == text


@pytest.mark.parametrize("router", [*ROUTERS, production_stack("python3")], ids=lambda router: router.name)
def test_each_listens_on_loopback_only_and_knows_all_engines(router: routers.Router, tmp_path: Path) -> None:
    launches = router.launches(list(range(7000, 7000 + router.ports)), ENGINES, tmp_path)
    for launch in launches:
        words = " ".join(launch.argv)
        for flag in ("--host", "--prometheus-host", "--mesh-host"):
            if flag in launch.argv:
                assert launch.argv[launch.argv.index(flag) + 1] == "127.0.0.1"
        assert "--host" in launch.argv and "0.0.0.0" not in words
        assert all(engine in words for engine in ENGINES)
        assert str(launch.entry) in words and launch.ready.startswith(f"http://127.0.0.1:{launch.entry}/")
    assert len({launch.entry for launch in launches}) == len(launches)


def test_what_is_not_installed_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "routers install" in missing("smg")
    python = routers.python_of_routers()
    python.parent.mkdir(parents=True)
    python.touch()
    (routers.environment_folder() / "smg.failed").write_text("no wheel for this machine")
    assert (missing("smg"), missing("vllm-router")) == ("no wheel for this machine", "")
