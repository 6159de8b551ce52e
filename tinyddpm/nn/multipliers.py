"""Multipliers: what lets plain gradient descent train all layers at once.

A step of θ ← θ − β∇J is safe while β is below 2 divided by the curvature of J (the largest
eigenvalue of its Hessian), and one β must do for every layer. But curvatures differ: the last
convolution's is the largest, so it sets β, and layers of small curvature (attention, the time
embedding) then hardly move. A multiplier evens this out. Write a layer's effective weight as
w = c·v, and let v be the parameter: by the chain rule ∇_v J = c·∇_w J, so one step of v changes w
by −c²β∇_w J. The update is still the literal θ ← θ − β∇J; what differs is how the network is
written in θ. In effect each kind of layer has its own fixed step size, c²β. Adam, another
optimiser, finds such step sizes while it runs; here they are seven numbers in plain sight.

We found the values by trial, on the 8×8 digits with base 16 and batch 64, so the digits are no
independent test of them. `more/training/calibration.py` measures better ones. With c = 1
everywhere β must be about 0.1 instead of 1.4. A theory: Yang & Hu 2021, "Feature learning in
infinite-width neural networks".
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Multipliers:
    """c for each kind of layer; those not named have 1."""

    conv1: float = 2.2  # a residual block's first convolution
    conv2: float = 2.0  # its second
    norm: float = 0.5  # gain and bias of GroupNorm
    time: float = 4.0  # the time embedding and its projections
    query_key_value: float = 8.0  # attention's inputs
    attention_out: float = 7.0  # and its output
    last: float = 0.2  # the last convolution


ONES = Multipliers(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
