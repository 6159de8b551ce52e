"""The stages, in the order in which they run: what matters most comes first.

Nothing but the standard library is imported here, so a report comes out whatever is missing.
"""

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Stage(NamedTuple):
    """Where its function is, what it finds out, and its part of the time.

    Times that a stage does not need go to those after it.
    """

    module: str
    title: str
    seconds: int  # of eight minutes


STAGES = {
    "card": Stage("card", "The card and the software", 20),
    "tests": Stage("correct", "The tests that need a card", 110),
    "gradients": Stage("correct", "J and every gradient against the CPU's", 35),
    "digits": Stage("correct", "The recipe digits on its expected curve", 60),
    "step": Stage("speed", "The training step", 25),
    "torch": Stage("peer", "PyTorch's training step", 45),
    "launches": Stage("speed", "Where a step's time goes", 25),
    "kernels": Stage("speed", "Each kernel, and the bandwidth it reaches", 20),
    "convolutions": Stage("speed", "Each convolution, and an equal product by cuBLAS", 25),
    "sampling": Stage("peer", "A step of sampling", 20),
    "fashion": Stage("correct", "500 steps of the recipe fashion", 35),
    "samples": Stage("correct", "Two sheets of samples", 15),
    "compile": Stage("peer", "PyTorch's training step with torch.compile", 45),
}
