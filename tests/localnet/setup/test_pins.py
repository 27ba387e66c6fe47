"""Versions as tools print them, and the cache's place."""

from pathlib import Path

import pytest

from localnet.setup.failures import SetupError
from localnet.setup.pins import COMETBFT, NEXT_COMETBFT, RELEASES, layout, version_of


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ("go version go1.24.11 linux/amd64", (1, 24, 11)),
        ("go version devel go1.27-abcdef linux/amd64", (1, 27)),
        ("0.38.25", (0, 38, 25)),
        ("", ()),
        ("none at all", ()),
    ],
)
def test_versions_are_read(words: str, version: tuple[int, ...]) -> None:
    assert version_of(words) == version


@pytest.mark.parametrize(
    ("words", "fits"),
    [
        ("go version go1.22.10 linux/amd64", False),
        ("go version go1.22.11 linux/amd64", True),
        ("go version go1.9 linux/amd64", False),
        ("go version go1.24 linux/amd64", True),
        ("go version go2.0.1 linux/amd64", True),
        ("", False),
    ],
)
def test_an_old_go_does_not_fit(words: str, fits: bool) -> None:
    assert COMETBFT.go_fits(words) is fits


@pytest.mark.parametrize(
    ("words", "fits"),
    [
        (COMETBFT.version, True),
        (f"v{COMETBFT.version}\n", True),
        ("0.38.24", False),
        ("0.38.25+1a2b3c", False),
        ("1.0.1", False),
    ],
)
def test_only_the_pinned_cometbft_fits(words: str, fits: bool) -> None:
    assert COMETBFT.fits(words) is fits


def test_the_next_line_is_known_by_what_it_reports() -> None:
    assert NEXT_COMETBFT.fits("0.39.0\n") and not NEXT_COMETBFT.fits(COMETBFT.says)
    assert not NEXT_COMETBFT.go_fits("go version go1.24.11 linux/amd64")
    for release in RELEASES.values():
        place = layout(Path("/src"), {"COMETBFT_VERSION": release.version})
        assert place.release is release and place.cometbft.name == f"cometbft-v{release.version}"
        assert release.module.endswith(f"@v{release.version}")
    with pytest.raises(SetupError, match="does not build"):
        layout(Path("/src"), {"COMETBFT_VERSION": "1.0.1"})


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({"HOME": "/u"}, "/u/.cache/planetserve"),
        ({"HOME": "/u", "XDG_CACHE_HOME": "/c"}, "/c/planetserve"),
        ({"HOME": "/u", "XDG_CACHE_HOME": "relative"}, "/u/.cache/planetserve"),
        ({"HOME": "/u", "XDG_CACHE_HOME": ""}, "/u/.cache/planetserve"),
    ],
)
def test_the_cache_follows_xdg(environ: dict[str, str], cache: str) -> None:
    assert layout(Path("/src"), environ).cache == Path(cache)
