"""How do you teach the engine an op that it does not have, and how do you know that your derivative is right?

    python examples/10_your_own_op.py            # a minute; needs hypothesis: pip install 'tinyddpm[test]'
    python examples/10_your_own_op.py --quick    # seconds

The op is Mish, x·tanh(log(1 + eˣ)) (Misra 2019, "Mish: a self regularized non-monotonic activation function"). An op is one function
of plain arrays that returns its output and its pullback; `@primitive` makes it work on Tensors.

  1. it is written twice: once right, and once with a term of the product rule forgotten, as happens
  2. hypothesis looks for arrays at which the pullback and numerical differences disagree: it finds none for the one, one for the other
  3. a U-Net is built with it in place of SiLU, its whole gradient is checked, and it is trained beside the ordinary one
"""
import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.figure import Figure

from autograd import leaf, primitive
from autograd.backend import array_module
from autograd.check import GradientError, check_gradient, check_pullback
from tinyddpm import noise, schedule
from tinyddpm import data
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, RED, save_figure, tidy
from tinyddpm.diffusion import q_sample
from tinyddpm.nn.block import NormSiLUConv, ResidualBlock
from tinyddpm.nn.unet import UNet, UNetConfig
from tinyddpm.objective import objective
from tinyddpm.train import train

# ---- 1. the op: its output, and what turns the gradient of the output into the gradient of x -----


@primitive
def mish(x):
    """x·τ with τ = tanh(log(1 + eˣ)). By the product rule its derivative is τ + x·τ', and τ' = (1 − τ²)·sigmoid(x)."""
    tau, sigmoid = _tanh_and_sigmoid(x)
    return x * tau, lambda g: (g * (tau + x * (1 - tau * tau) * sigmoid),)


@primitive
def hasty_mish(x):
    """The same output. Its pullback takes τ for a constant, which it is not."""
    tau, _ = _tanh_and_sigmoid(x)
    return x * tau, lambda g: (g * tau,)


def _tanh_and_sigmoid(x):
    xp = array_module(x)                      # NumPy or CuPy: where x lies, there it is computed
    softplus = xp.logaddexp(xp.zeros_like(x), x)  # log(1 + eˣ), which does not overflow
    return xp.tanh(softplus), xp.exp(x - softplus)


# ---- 2. the check --------------------------------------------------------------------------------

ANY_ARRAY = arrays(np.float64, array_shapes(max_dims=3, max_side=4), elements=st.floats(-20, 20))


def counterexample(op, tries):
    """What hypothesis finds wrong with the op's pullback, in words, at the simplest array that shows it; None if nothing is found."""
    @settings(max_examples=tries, deadline=None, derandomize=True, database=None)
    @given(ANY_ARRAY)
    def agrees(x):
        check_pullback(op, x)  # forward twice along random directions, beside what backward says

    try:
        agrees()
    except GradientError as error:
        return str(error)


def miss(op, x, steps):
    """|pullback − central difference|, the largest over x, for each step h."""
    variable = leaf(x)
    op(variable).sum().backward()
    return [float(np.abs(variable.grad - (op(x + h).data - op(x - h).data) / (2 * h)).max()) for h in steps]


# ---- 3. a U-Net of it ----------------------------------------------------------------------------


class NormMishConv(NormSiLUConv):
    def forward(self, x, added=0.0, mask=None):
        h = mish(self.norm(x))
        return self.conv(h if mask is None else h * mask) + added


class MishBlock(ResidualBlock):
    def __init__(self, inputs, outputs, time, groups, dropout, c):
        super().__init__(inputs, outputs, time, groups, dropout, c)
        self.half1 = NormMishConv(inputs, outputs, groups, c.norm, c.conv1)
        self.half2 = NormMishConv(outputs, outputs, groups, c.norm, c.conv2, zero=True)


class MishUNet(UNet):
    ResidualBlock, Last = MishBlock, NormMishConv


def check_whole_network(images, model_schedule):
    """∇J of the θ of a small MishUNet against numerical differences, in float64. Raises GradientError if they disagree."""
    net = MishUNet(UNetConfig(base=8, levels=(1,), blocks=1, attention=(), middle_attention=False))
    net.initialise(seed=0, dtype=np.float64)
    net.theta += 0.05 * np.random.default_rng(0).standard_normal(net.theta.shape)  # some layers start at 0, where gradients vanish
    x0, t, theta = images[:2].astype(np.float64), np.array([100, 600]), net.theta.copy()
    xt = q_sample(model_schedule, x0, t, noise.normal(0, "eps", 0, np.arange(2), x0.shape[1:], np.float64))

    def J(v):  # v takes the place of θ: each parameter becomes a piece of it, and gradients find their way back to v
        for name, parameter in net.parameters().items():
            piece = v[net.slices()[name]].reshape(parameter.initial_shape)
            parameter.data, parameter.node = piece.data, piece.node
        return objective(net(xt, t), x0)[0]

    check_gradient(J, theta, directions=8)
    return len(theta)


def learn(kind, training, model_schedule, draws, size):
    """(steps, share of predict-the-mean's held-out J): the network of this kind, trained by plain gradient descent."""
    net = kind(UNetConfig(base=8, blocks=1, attention=(), middle_attention=False)).initialise(seed=0)
    mean, curve = draws.evaluate(mean_image(training)).mean(), []
    for step in train(net, training, model_schedule, lambda k: min(1, k / 50), seed=0, batch_size=32):
        if step.k % size.every == 0:
            curve.append((step.k, draws.evaluate(net.denoise).mean() / mean))
        if step.k == size.steps:
            return np.array(curve).T


def main(arguments=None):
    """Returns what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer examples and steps")
    parser.add_argument("--out", type=Path, default=Path("."), help="a folder for the picture [.]")
    options = parser.parse_args(arguments)
    size = SimpleNamespace(tries=50, steps=60, every=30, draws=30) if options.quick else SimpleNamespace(tries=1000, steps=1000, every=50, draws=300)

    right, wrong = counterexample(mish, size.tries), counterexample(hasty_mish, size.tries)
    print(f"1. Of {size.tries} arrays none contradicts the pullback of mish." if right is None else f"1. mish is wrong: {right}")
    print(f"2. The one with a term forgotten is found out:\n   {wrong}")

    training, held_out = (part.images for part in data.split(data.digits()))
    linear = schedule.linear(1000)
    numbers = check_whole_network(training, linear)
    print(f"3. Through a whole U-Net of {numbers:,} numbers, ∇J is what numerical differences say.")
    draws = Draws(held_out, linear, most=size.draws)
    curves = {name: learn(kind, training, linear, draws, size) for name, kind in (("SiLU", UNet), ("Mish", MishUNet))}
    ends = {name: float(curve[1, -1]) for name, curve in curves.items()}
    print(f"   Trained alike for {size.steps} steps, its held-out J is {ends['Mish']:.3f} of predict-the-mean's; with SiLU it is {ends['SiLU']:.3f}.")

    options.out.mkdir(parents=True, exist_ok=True)
    steps = np.logspace(-11, -1, 41)
    misses = {op.__name__: miss(op, np.linspace(-6, 6, 49), steps) for op in (mish, hasty_mish)}
    draw(options.out / "your_own_op.png", steps, misses, curves)
    print(f"The picture is in {options.out / 'your_own_op.png'}.")
    return SimpleNamespace(right=right, wrong=wrong, misses=misses, curves=curves)


def draw(path, steps, misses, curves):
    figure = Figure(figsize=(13, 3.9), dpi=110)
    op, check, training = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.045, right=0.985, top=0.88, bottom=0.14, wspace=0.24)
    x, colours = np.linspace(-6, 4, 201), {"mish": RED, "hasty_mish": ORANGE}
    for function in (mish, hasty_mish):
        name, colour = function.__name__, colours[function.__name__]
        variable = leaf(x)
        function(variable).sum().backward()
        op.plot(x, variable.grad, color=colour, linewidth=1.8, label="its derivative, by the pullback" if function is mish else "with a term forgotten")
        check.loglog(steps, misses[name], color=colour, linewidth=1.8, label="right" if function is mish else "a term forgotten")
    op.plot(x, mish(x).data, color=BLUE, linewidth=1.8, label="mish(x)")
    op.plot(x[::10], (mish(x[::10] + 1e-5).data - mish(x[::10] - 1e-5).data) / 2e-5, "o", color=INK, markersize=3, label="numerical differences")
    op.set_ylim(-0.6, 2.6)
    for (name, curve), colour in zip(curves.items(), (GREY, RED)):
        training.plot(*curve, color=colour, linewidth=1.8, marker="o", markersize=3, label=f"a U-Net with {name}")
    for axes, title, below in ((op, "The op", "x"), (check, "Pullback − differences, by their step h", "h: rounding errors at the left, curvature at the right"),
                               (training, "Held-out J, as a share of predict-the-mean's", "step k")):
        axes.set_title(title, loc="left", color=INK)
        axes.set_xlabel(below)
        tidy(axes)
        axes.legend(frameon=False, fontsize=9, labelcolor="linecolor")
    save_figure(figure, path)


if __name__ == "__main__":
    main()
