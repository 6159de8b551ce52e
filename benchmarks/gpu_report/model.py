"""The model on paper: how long a training step should take, from what it asks of the GPU.

A step is a list of launches, each of so many bytes and FLOP. `count.py` counts them for every case
and writes counts.csv, so nothing here is counted by hand. Then

    GPU:   for each launch the largest of its floor, bytes / bandwidth, FLOP / peak; all added up
    host:  so many µs for each launch, which the GPU computes meanwhile
    step:  the longer of the two

It leaves out what arrays gain in the GPU's cache and what kernels lose by reading in small pieces.

    predict(counts("make train", OURS), CARDS["H200"], "TF32").step        # ms
"""

import csv
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

COUNTS = Path(__file__).with_name("counts.csv")
COLUMNS = ("case", "who", "what", "launches", "bytes", "FLOP")
OURS, DEFINITIONS, PEER = "ours", "definitions", "PyTorch"


class Launch(NamedTuple):
    """Launches of the same kind and size: what, how many, and the bytes and FLOP of each."""

    what: str
    n: int
    bytes: int
    flop: float

    @property
    def kind(self):
        """Whose launch it is: what the host pays for it depends on that."""
        if self.what.startswith("matrix"):
            return "product"
        if self.what.startswith("kernel "):
            return "op" if self.what.startswith("kernel cupy_") else "kernel"
        return "aten" if self.what.startswith("aten") else "copy"


class Card(NamedTuple):
    """What a card can do: bytes/s, FLOP/s by precision, and µs for a launch.

    Attributes:
        floor: µs that the GPU takes for a kernel that does nothing.
        host: kind of launch -> µs that the host takes to ask for it.
    """

    name: str
    bandwidth: float
    peak: dict[str, float]
    floor: float
    host: dict[str, float]


# An H200 copies at 4.3 of its 4.8 TB/s and reaches 790 of its 990 TFLOP/s in bf16 products (both
# measured on one). We take the same fractions of every other figure of the data sheets: float32 67
# and TF32 495 TFLOP/s on both cards, 3.35 TB/s on an H100.
COPY, PRODUCT = 4.3 / 4.8, 790 / 990
PEAKS = {"float32": PRODUCT * 67e12, "TF32": PRODUCT * 495e12}
# Assumed: nobody has measured them here. The stage "card" does.
HOST = {"kernel": 10.0, "op": 10.0, "product": 15.0, "copy": 5.0, "aten": 7.0}
CARDS = {
    "H100": Card("H100", COPY * 3.35e12, PEAKS, 2.0, HOST),
    "H200": Card("H200", COPY * 4.8e12, PEAKS, 2.0, HOST),
}


class Prediction(NamedTuple):
    """Milliseconds."""

    gpu: float
    host: float

    @property
    def step(self):
        """The longer of the two: the GPU computes while the host asks."""
        return max(self.gpu, self.host)


def peak(card, launch, precision):
    """FLOP/s. Our own kernels multiply on tensor cores, for float32 three times each (3×TF32)."""
    if launch.kind == "kernel":
        return card.peak["TF32"] / (3 if precision == "float32" else 1)
    return card.peak[precision]


def predict(launches, card, precision="float32"):
    """How long a step of these launches takes on a card."""
    gpu = host = 0.0
    for launch in launches:
        seconds = max(launch.bytes / card.bandwidth, launch.flop / peak(card, launch, precision))
        gpu += launch.n * max(1e-3 * card.floor, 1e3 * seconds)
        host += launch.n * 1e-3 * card.host[launch.kind]
    return Prediction(gpu, host)


def measured(limits):
    """The card as the stage "card" has measured it: {limit: value} -> Card, or None."""
    try:
        host = {
            "kernel": limits["a kernel of ours: host, µs"],
            "op": limits["an op of CuPy: host, µs"],
            "product": limits["a product: host, µs"],
        }
        peak = {how: 1e12 * limits[f"{how} product, TFLOP/s"] for how in PEAKS}
        bandwidth, floor = 1e9 * limits["copy, GB/s"], limits["a kernel of ours: GPU, µs"]
    except KeyError:
        return None
    if not min(bandwidth, *peak.values()) > 0:
        return None
    return Card("this card", bandwidth, peak, floor, HOST | host)


@cache
def table():
    """{(case, who): [Launch, …]} of counts.csv."""
    found = {}
    if not COUNTS.exists():
        return found
    with COUNTS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            launch = Launch(
                row["what"], int(row["launches"]), int(row["bytes"]), float(row["FLOP"])
            )
            found.setdefault((row["case"], row["who"]), []).append(launch)
    return found


def counts(case, who=OURS):
    """The launches of a case's step; none if they were not counted."""
    return table().get((case, who), [])


def launches(case, who=OURS):
    """How many launches a case's step has: 0 if they were not counted."""
    return sum(launch.n for launch in counts(case, who))


def total(launches):
    """(launches, bytes, FLOP) of a step."""
    return (
        sum(launch.n for launch in launches),
        sum(launch.n * launch.bytes for launch in launches),
        sum(launch.n * launch.flop for launch in launches),
    )


def tables():
    """The tables of docs/gpu.md: what a step asks, of what kinds it is, how long it should take."""
    from ..cases import CASES

    return [
        as_table(
            ["case", "launches", "GB", "GFLOP", "PyTorch's operations", "GB", "GFLOP"],
            [[name, *asked(name, OURS), *asked(name, PEER)] for name in CASES],
        ),
        as_table(["launches", "of what"], of_kinds("make train")),
        as_table(
            ["ms", "GPU, float32", "GPU, TF32", "host", "step, float32", "step, TF32"]
            + ["PyTorch, float32", "PyTorch, TF32"],
            [times(name, card) for card in CARDS.values() for name in CASES],
        ),
    ]


def asked(name, who):
    n, size, flop = total(counts(name, who))
    return f"{n:,}", f"{size / 1e9:.1f}", f"{flop / 1e9:.1f}"


def of_kinds(name):
    """[launches, what], the most frequent first; those with fewer than 4 are one kind."""
    found = Counter()
    for launch in counts(name):
        what = launch.what.replace("products", "product").removeprefix("kernel ")
        found[what.split("__")[0]] += launch.n  # without the types of its arguments
    few = sum(n for n in found.values() if n < 4)
    most = [(str(n), f"`{what}`") for what, n in found.most_common() if n >= 4]
    return [*most, (str(few), "others")]


def times(name, card):
    """A row: milliseconds of a case on a card."""
    own, peer = ([predict(counts(name, who), card, how) for how in PEAKS] for who in (OURS, PEER))
    numbers = [*(p.gpu for p in own), own[0].host, *(p.step for p in (*own, *peer))]
    return [f"{card.name}: {name}", *(f"{ms:.1f}" for ms in numbers)]


def as_table(head, rows):
    """Markdown."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    print(*tables(), sep="\n\n")
