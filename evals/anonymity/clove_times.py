"""How long does it take to prepare a message's cloves, and to decrypt them? Distributions at the published sizes.

Claim: nine in ten messages are prepared and decrypted within the 1.05 ms at which the published figure ends, seals included.
Times are CPU time of one thread, so that a busy machine does not count against us.
"""

import os
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import thread_time_ns

from evals.anonymity.present import Canvas, Table, emit, judged, options
from evals.overlay.messages import sealed_cloves
from evals.report import Figure
from network.chain_records import DirectoryEntry
from network.commands import StartReply
from network.crypto import exchange_public
from network.events import HandoverArrived
from network.geometry import COMMITMENT, GEOMETRY, TAG, TOKEN
from network.handover import Handover, encode_handover
from network.ids import Role
from network.inference import FrameKind, ReplyFrame
from network.modes import Mode
from network.reply import ReplyReader, ReplyWriter, stream_of
from network.session import Session
from network.sida import combine, split
from serving_node.inbox import Inbox

NOW = 1_800_000_000.0
SIZES = {"256 B": 256, "1 kB": 1_000, "10 kB": 10_000}
# Medians of the published code, compiled without changes and run on another machine: milliseconds to prepare and decrypt.
PUBLISHED_MS = {"256 B": (0.08, 0.03), "1 kB": (0.18, 0.09), "10 kB": (0.39, 0.40)}
LIMIT_US = 1_050.0
Samples = dict[tuple[str, str], list[float]]  # (what, size) -> microseconds, sorted


def spent(work: Callable[[], object]) -> float:
    """Microseconds of this thread."""
    begun = thread_time_ns()
    work()
    return (thread_time_ns() - begun) / 1_000


def measure(messages: int, seed: int) -> Samples:
    """Sizes take turns, so that a slow moment hits all alike."""
    draw = random.Random(seed)
    private = draw.randbytes(32)
    node = draw.randbytes(20), draw.randbytes(32)
    entry = DirectoryEntry(*node, exchange_public(private), Role.MODEL, "model", "127.0.0.1:1", "family")
    found: Samples = {}
    for _ in range(messages // len(SIZES)):
        for label, size in SIZES.items():
            text = draw.randbytes(size)
            for what, value in (_dispersal(text) | _request(text, entry, private) | _reply(text)).items():
                found.setdefault((what, label), []).append(value)
    return {key: sorted(values) for key, values in found.items()}


def _dispersal(text: bytes) -> dict[str, float]:
    """What the published benchmark times, but for its RSA operation: split, and combine from the first three."""
    slices = {each.index: each for each in split(text, GEOMETRY.n, GEOMETRY.k, os.urandom)}
    total = len(text) + COMMITMENT + TAG
    first = {index: slices[index] for index in range(GEOMETRY.k)}
    assert combine(first, GEOMETRY.n, GEOMETRY.k, total) == text
    return {
        "S-IDA prepare": spent(lambda: split(text, GEOMETRY.n, GEOMETRY.k, os.urandom)),
        "S-IDA decrypt": spent(lambda: combine(first, GEOMETRY.n, GEOMETRY.k, total)),
    }


def _request(text: bytes, entry: DirectoryEntry, private: bytes) -> dict[str, float]:
    """A prompt, whole: padding, dispersal, four seals; three openings, recovery."""
    session: list[Session] = []
    prepared = spent(lambda: session.append(Session(text, entry, NOW, os.urandom, Mode.SPEEDY)))
    cloves = sealed_cloves(session[0].start(NOW))
    inbox, opened = Inbox(private), []

    def open_request() -> None:
        for token, clove in cloves[: GEOMETRY.k]:
            opened.extend(inbox.on_event(HandoverArrived(1, encode_handover(Handover.CLOVE, token, clove)), NOW))

    decrypted = spent(open_request)
    assert any(isinstance(command, StartReply) and command.request == text for command in opened)
    return {"request prepare": prepared, "request decrypt": decrypted}


def _reply(text: bytes) -> dict[str, float]:
    """An answer of this length as one burst: pieces for four paths; recovery from three."""
    secret, message_id = os.urandom(32), os.urandom(16)
    writer, reader = ReplyWriter(secret, message_id), ReplyReader(secret, message_id)
    for path in range(GEOMETRY.n):
        writer.attach(path, bytes((path,)) * TOKEN)
        reader.attach(path, bytes((path,)) * TOKEN)
    cloves: list[tuple[int, bytes]] = []

    def write() -> None:
        stream = stream_of([ReplyFrame(0, FrameKind.DELTA, text), ReplyFrame(1, FrameKind.FINAL)])
        parts = [stream[at : at + GEOMETRY.piece] for at in range(0, len(stream), GEOMETRY.piece)]
        for number, part in enumerate(parts):
            end = number == len(parts) - 1
            cloves.extend(writer.write(number, part, end=end, arrived=0b1111, indices=range(GEOMETRY.n)))

    written = spent(write)
    read: list[ReplyFrame] = []

    def open_cloves() -> None:
        for path, clove in cloves:
            if path < GEOMETRY.k:
                read.extend(reader.add(path, clove))

    decrypted = spent(open_cloves)
    assert [frame.payload for frame in read] == [text, b""]
    return {"answer prepare": written, "answer decrypt": decrypted}


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))]


def figures(found: Samples) -> list[Figure]:
    """Medians beside the published ones, and the ninetieth percentile against the end of the published axis."""
    made = []
    for (what, label), values in found.items():
        name = f"clove_times.{what.replace(' ', '_').lower()}.{label.replace(' ', '')}"
        base = PUBLISHED_MS[label][what.endswith("decrypt")] * 1_000
        text = "published code, compiled and run on another machine"
        p90 = quantile(values, 0.9)
        goal = f"p90 {p90:.0f} us <= {LIMIT_US:.0f} us"
        made.append(judged(name, quantile(values, 0.5), "us", goal, p90 <= LIMIT_US, baseline=text, baseline_value=base))
    return made


def draw(found: Samples, folder: Path) -> Path:
    """Cumulative distributions, a panel each for preparing and decrypting."""
    canvas = Canvas(["Preparation", "Decryption"])
    styles = {"S-IDA": ":", "request": "-", "answer": "--"}
    for axis, verb in zip(canvas.axes, ("prepare", "decrypt"), strict=True):
        for (what, label), values in found.items():
            kind, _, action = what.partition(" ")
            if action == verb:
                colour = canvas.COLOURS[list(SIZES).index(label)]
                shares = [step / 50 for step in range(50)]
                axis.plot(
                    [quantile(values, each) / 1_000 for each in shares],
                    shares,
                    styles[kind],
                    color=colour,
                    label=f"{kind} {label}",
                )
        axis.set_xscale("log")
        axis.axvline(LIMIT_US / 1_000, color=canvas.COLOURS[5], linewidth=0.8)
        axis.set_xlabel("ms of CPU (line: where the published axis ends)", fontsize=8)
        axis.set_ylabel("share of messages", fontsize=8)
    return canvas.save(folder, "clove_times")


def main() -> int:
    parser = options(__doc__ or "")
    parser.add_argument("--messages", type=int, default=10_000, help="messages over all sizes (default: 10000)")
    args = parser.parse_args()
    found = measure(args.messages, args.seed)
    rows = [
        [what, label, *(f"{quantile(values, share):.1f}" for share in (0.5, 0.9, 0.99)),
         f"{PUBLISHED_MS[label][what.endswith('decrypt')] * 1_000:.0f}"]
        for (what, label), values in found.items()
    ]  # fmt: skip
    head = ["what", "size", "p50", "p90", "p99", "published p50, other machine"]
    note = "published: hash, RSA operation, S-IDA (C++). `request` adds padding and four seals, three of which are opened"
    if not args.no_plot:
        draw(found, args.plots)
    return emit("anonymity.clove_times", [Table("Microseconds of CPU", head, rows, note)], figures(found), args.output)


if __name__ == "__main__":
    sys.exit(main())
