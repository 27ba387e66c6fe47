"""The light client's bench: its blocks verify, and what it measures without a chain comes out whole."""

import pytest

from evals.light import bench_light
from evals.light.blocks import CHAIN_ID, History
from network.light import check_block


def test_its_blocks_are_whole_and_their_signers_change() -> None:
    history = History(4, 10)
    for height in (1, 9, 10, 35):
        check_block(CHAIN_ID, history.block(height))
    assert history.block(9).header.next_validators_hash == history.block(10).header.validators_hash
    assert history.block(9).validators.hash != history.block(10).validators.hash


def test_what_needs_no_chain_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench_light, "AWAY", 3_000)
    monkeypatch.setattr(bench_light, "REPEAT", 3)
    monkeypatch.setattr("sys.argv", ["bench_light", "--seconds", "0"])
    assert bench_light.main() in (0, 1)  # the shares of so short an absence may miss the goals of a long one
    table = capsys.readouterr().out
    assert "header_100_validators_cpu" in table and "away_headers_fetched" in table
