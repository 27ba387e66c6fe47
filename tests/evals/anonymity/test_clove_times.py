"""Everything that is timed does what it says; the figures carry their baseline."""

from evals.anonymity.clove_times import SIZES, figures, measure, quantile


def test_every_size_is_prepared_and_decrypted() -> None:
    found = measure(2 * len(SIZES), seed=1)
    kinds = {f"{what} {action}" for what in ("S-IDA", "request", "answer") for action in ("prepare", "decrypt")}
    assert set(found) == {(kind, size) for kind in kinds for size in SIZES}
    assert all(values == sorted(values) and len(values) == 2 for values in found.values())
    assert all(each.baseline_value and each.goal for each in figures(found))


def test_quantiles() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.5, 1.0)] == [1.0, 3.0, 4.0]
