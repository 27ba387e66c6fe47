"""What does the rhythm of a streamed answer tell about its topic? Sizes and moments on the user's links, classified.

Claim: plain streaming tells the topic, `strict` does not (AUC <= 0.55); `speedy` and `default` lie between and are reported.
"""

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from evals.adversary.network import VirtualNetwork
from evals.adversary.wires import Carries
from evals.anonymity.answers import TARGET, Answer, load, more_like
from evals.anonymity.present import Canvas, Table, emit, figure, judged, options
from evals.anonymity.scoring import Array, auc, auc_error, cross_validated, fold_aucs
from evals.report import Figure
from network.geometry import GEOMETRY
from network.inference import FrameKind, ReplyFrame
from network.modes import Mode
from serving_node.replying import Reply

Trace = tuple[Array, Array]  # moments since the prompt left, sizes
HEAD = 40  # how many of the first frames are features one by one
SSE_OVERHEAD = 230  # bytes of a chat completion's chunk besides its text; any constant does
STRICT_AT_MOST = 0.55
SHOWN_S = 1.0
NOW = 0.0
MODES = (Mode.SPEEDY, Mode.DEFAULT, Mode.STRICT)


def plain(answer: Answer) -> Trace:
    """Server-sent events straight from the model node: one record for every piece of text."""
    return np.array(answer.moments), np.array(answer.lengths, float) + SSE_OVERHEAD


def ticked(answer: Answer, mode: Mode) -> Trace:
    """The model node's own ticker, which is all that shapes the way home: relays pass a cell on when it comes."""
    reply = Reply(bytes(32), bytes(16), mode, NOW)
    for path in range(GEOMETRY.n):
        reply.attach(path, (path, bytes((path,)) * 16))
    coming = [(0.0, ReplyFrame(0, FrameKind.ACCEPTED), False)]
    for number, (moment, length) in enumerate(zip(answer.moments, answer.lengths, strict=True)):
        coming.append((moment, ReplyFrame(number + 1, FrameKind.DELTA, bytes(length)), False))
    coming.append((answer.moments[-1], ReplyFrame(len(coming), FrameKind.FINAL), True))
    moments: list[float] = []
    sizes: list[int] = []
    while not reply.over:
        now = reply.due
        assert now is not None
        while coming and NOW + coming[0][0] <= now:
            _, frame, end = coming.pop(0)
            reply.say([frame], end=end)
        cells = len(reply.tick(now))
        moments.append(now - NOW)
        sizes.append(cells * GEOMETRY.cell)
    return np.array(moments), np.array(sizes, float)


def tapped(answer: Answer, mode: Mode, seed: int) -> Trace:
    """The same answer through the whole virtual network, tapped on the user's links, less the time of the way."""
    frames = [(0.0, ReplyFrame(kind=FrameKind.ACCEPTED))]
    frames += [
        (moment, ReplyFrame(kind=FrameKind.DELTA, payload=bytes(length)))
        for moment, length in zip(answer.moments, answer.lengths, strict=True)
    ]
    frames.append((answer.moments[-1], ReplyFrame(kind=FrameKind.FINAL)))
    network = VirtualNetwork(seed, delay=0.0, answer=lambda _: frames)
    user = network.add_user()
    circuits = user.path_set(network.paths())
    seen = network.tap(at=[user.name])
    begun = network.clock.now
    asked = user.ask(b"a question", network.model.entry, circuits, mode=mode)
    network.run_until(lambda: asked.ended)
    network.run(60.0)
    homeward = [each for each in seen if each.target[0] == user.name and each.carries is Carries.CELLS]
    sizes: dict[float, int] = {}
    for sighting in homeward:
        data = [cell for cell in sighting.cells() if cell[8] == 4]
        if data:
            moment = round(sighting.arrives - begun, 6)
            sizes[moment] = sizes.get(moment, 0) + len(data) * GEOMETRY.cell
    return np.array(sorted(sizes)), np.array([sizes[moment] for moment in sorted(sizes)], float)


def features(trace: Trace) -> list[float]:
    """Counts, sums, quantiles, and the first frames one by one."""
    moments, sizes = trace
    gaps = np.array([late - soon for soon, late in pairwise(moments)] or [0.0])
    quantiles = [0.05, 0.25, 0.5, 0.75, 0.95]
    found = [float(len(sizes)), float(sizes.sum()), float(moments[0]), float(moments[-1])]
    for values in (sizes, gaps):
        found += [float(values.mean()), float(values.std()), *(float(x) for x in np.quantile(values, quantiles))]
        found += [float(x) for x in values[:HEAD]] + [-1.0] * (HEAD - len(values[:HEAD]))
    return found


def score(traces: Sequence[Trace], answers: Sequence[Answer], seed: int) -> tuple[float, float]:
    """(AUC of trees that were trained on other questions, standard error under guessing)."""
    rows = np.array([features(trace) for trace in traces], np.float32)
    labels = np.array([int(answer.topic == TARGET) for answer in answers])
    groups = np.array([answer.number for answer in answers])
    scores = cross_validated(rows, labels, groups, seed)
    return float(np.mean(fold_aucs(labels, scores, groups, seed))), auc_error(int(labels.sum()), int((1 - labels).sum()))


def total_auc(traces: Sequence[Trace], answers: Sequence[Answer]) -> float:
    """What the number of frames tells by itself, in whichever direction."""
    labels = np.array([int(answer.topic == TARGET) for answer in answers])
    found = auc(labels, np.array([float(len(sizes)) for _, sizes in traces]))
    return max(found, 1.0 - found)


def compare(answers: Sequence[Answer], label: str, seed: int) -> tuple[list[list[str]], list[Figure]]:
    """Every way of streaming, on one set of answers."""
    ways: dict[str, Callable[[Answer], Trace]] = {"plain": plain}
    for mode in MODES:
        ways[mode.name.lower()] = lambda answer, mode=mode: ticked(answer, mode)  # type: ignore[misc]
    rows, figures = [], []
    for name, way in ways.items():
        traces = [way(answer) for answer in answers]
        found, error = score(traces, answers, seed)
        seconds = float(np.mean([moments[-1] for moments, _ in traces]))
        volume = float(np.mean([sizes.sum() for _, sizes in traces])) / 1024
        frames = len({len(sizes) for _, sizes in traces})
        numbers = f"{found:.3f}", f"{error:.3f}", f"{total_auc(traces, answers):.3f}"
        rows.append([label, name, *numbers, str(frames), f"{seconds:.1f}", f"{volume:.0f}"])
        figures.append(_figure(label, name, found))
    return rows, figures


def _figure(label: str, name: str, found: float) -> Figure:
    identity = f"reply_stream.{label.replace(' ', '_')}.{name}"
    if label == "modelled" and name == "strict":
        return judged(identity, found, "AUC", f"<= {STRICT_AT_MOST}", found <= STRICT_AT_MOST)
    if label == "modelled" and name == "plain":
        return judged(identity, found, "AUC", ">= 0.9: the trees find what is there", found >= 0.9)
    return figure(identity, found, "AUC")


def draw(figures: Sequence[Figure], answers: Sequence[Answer], folder: Path) -> Path:
    """AUCs by way on the left; beside it one answer of each topic, as plain streaming and `default` show it."""
    canvas = Canvas(("AUC by way of streaming", "plain: two answers", "default: the same two"), width=3.6)
    ways = ("plain", *(mode.name.lower() for mode in MODES))
    for number, label in enumerate(("modelled", "half_as_long", "recorded")):
        areas = {each.id.rpartition(".")[2]: each.value for each in figures if f".{label}." in each.id}
        canvas.axes[0].plot(
            ways, [areas[way] for way in ways], "o", color=canvas.COLOURS[number], label=label.replace("_", " ")
        )
    canvas.axes[0].axhline(0.5, color=canvas.COLOURS[5], linewidth=0.8)
    canvas.axes[0].axhline(STRICT_AT_MOST, color=canvas.COLOURS[3], linewidth=0.8, linestyle="--")
    canvas.axes[0].set_ylim(0.3, 1.03)
    for topic in sorted({answer.topic for answer in answers}):
        answer = next(each for each in answers if each.topic == topic)
        marker, colour = (".", canvas.COLOURS[0]) if topic == TARGET else ("x", canvas.COLOURS[1])
        for axis, (moments, sizes) in zip(canvas.axes[1:], (plain(answer), ticked(answer, Mode.DEFAULT)), strict=True):
            shown = moments < moments[0] + SHOWN_S
            axis.plot(moments[shown], sizes[shown], marker, markersize=4, color=colour, label=topic)
            axis.set_xlabel("seconds", fontsize=8)
            axis.set_ylabel("bytes", fontsize=8)
    return canvas.save(folder, "reply_stream")


def main() -> int:
    parser = options(__doc__ or "")
    parser.add_argument("--answers", type=int, default=400, help="modelled answers per topic (default: 400)")
    args = parser.parse_args()
    recorded = load()
    modelled = more_like(recorded, args.answers, args.seed)
    unequal = more_like(recorded, args.answers, args.seed, shorter="everyday")
    rows, figures = [], []
    for label, answers in (("recorded", recorded), ("modelled", modelled), ("half as long", unequal)):
        more_rows, more_figures = compare(answers, label, args.seed)
        rows += more_rows
        figures += more_figures
    head = ["answers", "way", "AUC", "error under guessing", "AUC of the count alone", "distinct counts", "seconds", "KiB"]
    note = f"{len(recorded)} recorded answers, {len(modelled)} modelled; seconds, KiB: mean of an answer"
    if not args.no_plot:
        draw(figures, recorded, args.plots)
    return emit("anonymity.reply_stream", [Table("Topic of an answer by its rhythm", head, rows, note)], figures, args.output)


if __name__ == "__main__":
    sys.exit(main())
