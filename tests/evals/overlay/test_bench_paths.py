"""The bench of path choice runs, and what it counts holds at any size."""

from evals.overlay.bench_paths import measure
from network.relay_draw import OPERATOR_SHARE


def test_matching_finds_what_taking_what_fits_misses_and_no_operator_exceeds_its_share() -> None:
    figures = {each.figure.id: each.figure for each in measure(repeat=1, draws=60)}
    assert figures["crowded.found"].holds
    assert figures["operator.first"].value < 3 * OPERATOR_SHARE
    assert {name for name in figures if name.startswith("path_choice")} == {f"path_choice.{n}" for n in (16, 100, 1000, 4000)}
