"""The fifteen goals of the overlay: which figures of the bench judge each, and which command judges the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from evals.report import Row


@dataclass(frozen=True)
class Goal:
    """One goal; `figures` are ids of the bench's rows, `elsewhere` a command of its own."""

    number: int
    text: str
    figures: tuple[str, ...] = ()
    elsewhere: str = ""


_SEALS = "x25519.pow2", "x25519.padme", "hybrid.pow2", "hybrid.padme"
GOALS = (
    Goal(1, "S-IDA split 1/8/32/128 KB", tuple(f"split.{size}" for size in ("1k", "8k", "32k", "128k"))),
    Goal(2, "S-IDA split 1 MB beside AES-GCM", ("split.1m",)),
    Goal(3, "S-IDA combine with parity", tuple(f"combine_parity.{size}" for size in ("8k", "32k", "1m"))),
    Goal(4, "wire bytes per prompt byte", tuple(f"wire_8k_to_128k.{name}" for name in _SEALS)),
    Goal(
        5, "relay's work per cell", ("relay_layer_forward", "relay_layer_backward", "relay_core_forward", "relay_core_backward")
    ),
    Goal(6, "added latency per hop", ("hop_added.p50", "hop_added.p99")),
    Goal(7, "relay core's throughput", ("relay_core_cells",)),
    Goal(8, "path set 4 x 3", ("path_set_client_cpu",)),
    Goal(9, "set-ups a second, and under a flood", ("relay_creates", "flood_honest_success")),
    Goal(10, "one clove of four lost or altered", ("delivered.one_dropped", "delivered.one_altered_named")),
    Goal(11, "closed forms, simulation, real selector", elsewhere="python -m evals.anonymity.entropy"),
    Goal(
        12,
        "bytes look random",
        ("entropy.forward", "entropy.backward", "entropy.clove"),
        "python -m evals.anonymity.byte_tests",
    ),
    Goal(13, "two relays' views are not linked", elsewhere="python -m evals.anonymity.linkage"),
    Goal(14, "answers' topics do not show", elsewhere="python -m evals.anonymity.reply_stream"),
    Goal(
        15,
        "added time to the first frame",
        ("first_frame_added.p50", "first_frame_share_of_2s", "first_frame_added.default.p50"),
    ),
)


def show_goals(rows: Sequence[Row]) -> None:
    """One line for each goal: the figures that judge it, with what they say."""
    held = {each.figure.id: each.figure.holds for each in rows}
    for goal in GOALS:
        judged = [f"{name} {'holds' if held[name] else 'MISSED'}" for name in goal.figures]
        print(f"goal {goal.number:2}  {goal.text}: {'; '.join([*judged, *([goal.elsewhere] if goal.elsewhere else [])])}")
