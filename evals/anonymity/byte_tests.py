"""Are the bytes of cells and sealed cloves told from random ones?

Claim: per kind of cell, direction and hop, a megabyte of bodies has an entropy of at least 7.999 bits a byte and chi-square
p > 0.001, and so has every offset by itself (Bonferroni), but for one that the wire format names: the top bit of the X25519 key
in front of CREATE, CREATED and a seal is always zero. A clove's first byte, the number of its suite, is left out.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, log2, sqrt
from pathlib import Path

import numpy as np

from evals.anonymity.present import Canvas, Table, emit, judged, options
from evals.anonymity.scoring import Array
from evals.anonymity.views import BACKWARD, CREATE, CREATED, FORWARD, record
from evals.report import Figure
from network.cell import CellKind
from network.geometry import GEOMETRY, KEY

MEGABYTE = 1 << 20
LEAST_BITS = 7.999
LEAST_P = 0.001
LEAST_ROWS = 1024  # with fewer than four expected per byte value, chi-square of one offset says nothing
SUITE = 1  # a sealed clove begins with the number of its suite
# Offsets that the wire format itself makes uneven, by what is looked at.
NAMED = {"create": {KEY - 1}, "created": {KEY - 1}, "clove": {KEY - 1}}


@dataclass(frozen=True)
class Verdict:
    """What the tests say of one collection of equally long strings."""

    name: str
    size: int
    entropy: float
    p: float
    serial: float
    least_p_of_an_offset: float
    uneven: tuple[int, ...]

    @property
    def holds(self) -> bool:
        """Whether only what the wire format names stands out."""
        named = NAMED.get(self.name.partition(".")[0], set())
        return self.entropy >= LEAST_BITS and self.p > LEAST_P and set(self.uneven) <= named


def examine(name: str, strings: Sequence[bytes]) -> Verdict:
    """Entropy, chi-square and serial correlation of all bytes, and chi-square of every offset."""
    rows = np.frombuffer(b"".join(strings), np.uint8).reshape(len(strings), -1)
    counts = np.bincount(rows.ravel(), minlength=256)
    judged_rows = rows if len(rows) >= LEAST_ROWS else rows[:, :0]
    by_offset = [chi_square_p(np.bincount(column, minlength=256)) for column in judged_rows.T]
    limit = LEAST_P / rows.shape[1]
    uneven = tuple(offset for offset, p in enumerate(by_offset) if p < limit)
    return Verdict(name, rows.size, entropy(counts), chi_square_p(counts), serial(rows), min(by_offset, default=1.0), uneven)


def entropy(counts: Array) -> float:
    """Bits a byte, as the frequencies say."""
    shares = counts / counts.sum()
    return float(-sum(share * log2(share) for share in shares if share))


def chi_square_p(counts: Array) -> float:
    """P[a uniform source is at least so uneven], by Wilson and Hilferty's cube root (255 degrees of freedom: good to 1e-4)."""
    expected = counts.sum() / len(counts)
    statistic = float(((counts - expected) ** 2).sum() / expected)
    freedom = len(counts) - 1
    spread = 2.0 / (9.0 * freedom)
    z = ((statistic / freedom) ** (1.0 / 3.0) - (1.0 - spread)) / sqrt(spread)
    return 0.5 * erfc(z / sqrt(2.0))


def serial(rows: Array) -> float:
    """Correlation of each byte with the next of the same string, in standard errors."""
    left, right = rows[:, :-1].ravel().astype(np.float64), rows[:, 1:].ravel().astype(np.float64)
    return float(np.corrcoef(left, right)[0, 1] * sqrt(left.size))


def gather(seed: int, size: int) -> dict[str, list[bytes]]:
    """Bodies by kind and hop, and sealed cloves, until each collection holds `size` bytes."""
    long, short = (FORWARD, "forward"), (BACKWARD, "backward")
    found = _until(size, seed, (long, short), request=180_000, answer=180_000)
    cloves: list[bytes] = []
    found |= _until(size, seed + 1, ((CREATE, "create"), (CREATED, "created")), request=300, answer=300, cloves=cloves)
    return {**found, "clove": cloves}


def _until(
    size: int, seed: int, kinds: Sequence[tuple[CellKind, str]], *, request: int, answer: int, cloves: list[bytes] | None = None
) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {f"{name}.hop{hop + 1}": [] for _, name in kinds for hop in range(GEOMETRY.hops)}
    collections = [*found.values(), *([] if cloves is None else [cloves])]
    run = 0
    while min(sum(map(len, each)) for each in collections) < size:
        for circuit in record(seed * 1_000 + run, request=request, answer=answer):
            for kind, name in kinds:
                for hop in range(GEOMETRY.hops):
                    found[f"{name}.hop{hop + 1}"] += circuit.bodies(kind, hop)
            if cloves is not None:
                cloves.append(circuit.clove[SUITE:])
        run += 1
    return found


def published_fragments(size: int) -> dict[str, list[bytes]]:
    """Baseline: fragments of a hexadecimal ciphertext by a Vandermonde code, the published dispersal, of random ciphertext."""
    ciphertext = np.random.default_rng(1).integers(0, 256, 3 * size // 2, np.uint8).tobytes().hex().encode()
    chunks = np.frombuffer(ciphertext[: len(ciphertext) // 3 * 3], np.uint8).reshape(3, -1)
    found = {}
    for x in range(1, 5):
        column, factor = np.zeros(chunks.shape[1], np.uint8), 1
        for chunk in chunks:
            column ^= _times(factor)[chunk]
            factor = int(_times(x)[factor])
        found[f"published.fragment{x}"] = [column.tobytes()]
    return found


def _times(factor: int) -> Array:
    """The table of products with `factor` in GF(2^8) over 0x11b."""
    table = np.zeros(256, np.uint8)
    for value in range(256):
        product, left, right = 0, value, factor
        while right:
            product ^= left if right & 1 else 0
            left = (left << 1) ^ (0x11B if left & 0x80 else 0)
            right >>= 1
        table[value] = product
    return table


def figures(verdicts: Sequence[Verdict]) -> list[Figure]:
    """One figure per test."""
    found = []
    for each in verdicts:
        goal = f">= {LEAST_BITS} bits/byte, p > {LEAST_P} (p = {each.p:.3f}), no unnamed offset uneven {each.uneven}"
        found.append(judged(f"bytes.{each.name}", each.entropy, "bits/byte", goal, each.holds))
    return found


def draw(samples: dict[str, list[bytes]], baseline: dict[str, list[bytes]], folder: Path) -> Path:
    """Byte frequencies of cells beside those of the published fragments."""
    canvas = Canvas(["Bytes of our cells and cloves", "Bytes of the published fragments"])
    for axis, groups in zip(canvas.axes, (samples, baseline), strict=True):
        for number, (name, strings) in enumerate(groups.items()):
            counts = np.bincount(np.frombuffer(b"".join(strings), np.uint8), minlength=256)
            axis.plot(counts / counts.sum() * 256, linewidth=0.6, color=canvas.COLOURS[number], label=name)
        axis.set_xlabel("byte", fontsize=8)
        axis.set_ylabel("frequency / uniform", fontsize=8)
    canvas.axes[0].set_ylim(0, 2)
    return canvas.save(folder, "bytes")


def main() -> int:
    parser = options(__doc__ or "")
    parser.add_argument("--size", type=int, default=MEGABYTE, help="bytes per collection (default: 1 MiB)")
    args = parser.parse_args()
    samples = gather(args.seed, args.size)
    baseline = published_fragments(args.size)
    verdicts = [examine(name, strings) for name, strings in samples.items()]
    rows = [_row(each) for each in verdicts]
    for name, (string,) in baseline.items():
        counts = np.bincount(np.frombuffer(string, np.uint8), minlength=256)
        rows.append([name, str(len(string)), f"{entropy(counts):.4f}", f"{chi_square_p(counts):.4f}", "", "", ""])
    head = ["what", "bytes", "bits/byte", "p", "serial, sigmas", "least p of an offset", "uneven offsets"]
    limit = "an offset is uneven below p = 0.001 / number of offsets; the wire format names those shown"
    if not args.no_plot:
        shown = {name: samples[name] for name in ("forward.hop1", "backward.hop1", "clove")}
        draw(shown, baseline, args.plots)
    return emit("anonymity.bytes", [Table("Byte tests", head, rows, limit)], figures(verdicts), args.output)


def _row(each: Verdict) -> list[str]:
    uneven = ", ".join(map(str, each.uneven)) or "none"
    numbers = f"{each.entropy:.5f}", f"{each.p:.4f}", f"{each.serial:.2f}", f"{each.least_p_of_an_offset:.2g}"
    return [each.name, str(each.size), *numbers, uneven]


if __name__ == "__main__":
    sys.exit(main())
