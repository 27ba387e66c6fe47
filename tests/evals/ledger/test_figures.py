"""The pure parts of the ledger's bench: what is sent is valid and comparable, and the arithmetic of its figures."""

import json

from abci_app.state.transition import open_tx
from evals.ledger.figures import (
    CHAIN_ID,
    block_rate,
    document,
    figure,
    pair_like,
    percentile,
    registration,
    renewal,
    signers,
    table,
)
from network.chain_tx import RegisterNode, UpdateNode


def test_what_is_sent_is_valid_about_300_bytes_and_in_nonce_order() -> None:
    key = signers(1)[0]
    first, *later = [registration(0, key, CHAIN_ID), renewal(key, 1, CHAIN_ID), renewal(key, 2, CHAIN_ID)]
    opened = [open_tx(raw, CHAIN_ID) for raw in (first, *later)]
    assert [one.tx.nonce for one in opened] == sorted({one.tx.nonce for one in opened})
    joined, renewed = opened[0].body, opened[1].body
    assert isinstance(joined, RegisterNode) and isinstance(renewed, UpdateNode)
    # Nothing changes but the renewal itself, so that no block writes the directory on a renewal's account.
    assert (joined.address, joined.onion_key) == (renewed.address, renewed.onion_key)
    assert all(270 <= len(raw) <= 310 for raw in (first, *later))


def test_the_kvstore_gets_other_pairs_of_the_same_length() -> None:
    sent = [renewal(key, turn, CHAIN_ID) for key in signers(3) for turn in (1, 2)]
    pairs = [pair_like(raw) for raw in sent]
    assert [len(pair) for pair in pairs] == [len(raw) for raw in sent]
    assert len({pair.partition(b"=")[0] for pair in pairs}) == len(sent)
    assert all(pair.count(b"=") == 1 and pair.count(b":") == 0 and not pair.endswith(b"=") for pair in pairs)


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50.0, 95.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.95) == float("inf")


def test_a_rate_counts_the_blocks_between_the_first_and_the_last_in_its_window() -> None:
    blocks = [(0.5, 900), (1.0, 100), (2.0, 200), (3.0, 300), (9.0, 5)]
    assert block_rate(blocks, 1.0, 4.0) == 250.0
    assert block_rate(blocks, 5.0, 10.0) == 0.0
    assert block_rate([], 0.0, 1.0) == 0.0


def test_a_figure_holds_only_when_all_its_bounds_do() -> None:
    row = figure("speed", 1900.0, "tx/s", "another", 3800.0, least=1800, least_ratio=0.65)
    assert (row.ratio, row.goal, row.holds) == (0.5, ">= 1800 and >= 0.65 x", False)
    assert figure("speed", 2500.0, "tx/s", "another", 3800.0, least=1800, least_ratio=0.65).holds
    assert figure("late", 3.0, "s", most=2).holds is False
    assert figure("late", 3.0, "s", "another", 0.0, most_ratio=1.3).holds is False
    assert figure("seen", 3.0, "s").holds is None


def test_the_document_has_the_fixed_form() -> None:
    rows = [figure("late", 3.0, "s", "another", 2.0, most_ratio=1.3), figure("seen", 1.0, "s")]
    found = json.loads(document("abc", "two cores", rows))
    assert (found["name"], found["commit"], found["machine"]) == ("ledger", "abc", "two cores")
    fields = ["id", "value", "unit", "baseline", "baseline_value", "ratio", "goal", "holds"]
    assert [list(row) for row in found["figures"]] == [fields, fields]
    text = table("abc", "two cores", rows)
    assert "MISSED" in text and "baseline of late: another" in text
