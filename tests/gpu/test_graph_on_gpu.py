"""--graph: the same J, gradients and θ as without it, to the last bit, whatever a step changes."""

import itertools
from dataclasses import replace

import cupy
import numpy as np
import pytest
from on_gpu import bound
from oracles import SMALL, perturb

from autograd import backend
from autograd.backend import to_device, to_numpy
from tinyddpm import fast, noise, schedule
from tinyddpm.fast.cuda import graph
from tinyddpm.more.classes import ClassConfig, ClassUNet, dropped
from tinyddpm.more.predictions import gradient as of_prediction
from tinyddpm.more.training.augmenting import flipped
from tinyddpm.more.training.calibration import Measured
from tinyddpm.more.training.optimisers import Adam
from tinyddpm.more.training.timesteps import LossAware
from tinyddpm.nn import UNet
from tinyddpm.runs import checkpoint, folder as run_folder, training
from tinyddpm.runs.computing import computing
from tinyddpm.runs.config import Config
from tinyddpm.train import gradient, gradient_descent, train

S = schedule.linear(20)
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-1, 1, (20, *SMALL.image)).astype(np.float32)
LABELS = RNG.integers(0, 4, 20)
NETS = {
    "plain": (UNet, SMALL),
    "dropout": (UNet, replace(SMALL, dropout=0.3)),
    "classes": (ClassUNet, ClassConfig(**vars(SMALL), classes=4)),
}
UPDATES = {"descent": lambda: gradient_descent, "measured": lambda: Measured(3), "Adam": Adam}


def network(name="plain"):
    kind, config = NETS[name]
    net = kind(config)
    theta = perturb(net.initialise(0), np.random.default_rng(1)).theta.astype(np.float32)
    return bound(net, theta, "cuda")


def falling(k):
    """β, which differs from step to step."""
    return 0.05 / k


def steps(with_graph, name="plain", update="descent", change=lambda g: g, count=5, of=gradient):
    """Of each step: J, errors, t, ∇J and θ. `change` makes another gradient of the run's."""
    unet, found = network(name), []
    cond = dropped(to_device(LABELS, "cuda"), 4, 0.3) if name == "classes" else None
    options = {"batch_size": 5, "update": UPDATES[update](), "cond": cond, "seed": 3}
    with computing(unet, unet, S, "cuda", gradient=of, graph=with_graph) as (computed, denoise):
        images = to_device(IMAGES, "cuda")
        taken = train(unet, images, S, falling, gradient=change(computed), **options)
        for step in itertools.islice(taken, count):
            found.append([step.J, step.errors, step.t, unet.grad.copy(), unet.theta.copy()])
            denoise(images[:2], step.t[:2])  # what is computed between the steps changes nothing
    return [[to_numpy(value) for value in values] for values in found]


def assert_same_bits(found, expected):
    for k, (values, others) in enumerate(zip(found, expected, strict=True), 1):
        for name, a, b in zip(("J", "errors", "t", "∇J", "θ"), values, others, strict=True):
            assert a.tobytes() == b.tobytes(), f"{name} of step {k}"


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("name", NETS)
def test_five_steps_are_the_same_to_the_bit(name, update):
    assert_same_bits(steps(True, name, update), steps(False, name, update))


def in_parts(computed):
    """Micro-batches of 2, 2 and 1 images."""

    def of_parts(unet, schedule, x0, t, eps, form, *, dropout, cond):
        found = []
        for part in (slice(0, 2), slice(2, 4), slice(4, 5)):
            seed, k, m = dropout.address
            own = noise.Stream(seed, "dropout", k, m[part])
            batch = x0[part], t[part], eps[part], form, len(x0)
            found.append(computed(unet, schedule, *batch, dropout=own, cond=cond))
        return sum(J for J, _ in found), backend.array_module(x0).concatenate([e for _, e in found])

    return of_parts


WAYS = {
    "micro-batches": {"name": "dropout", "change": in_parts},
    "flips": {"change": flipped},
    "loss-aware t": {
        "change": lambda computed: LossAware(2, np.ones(3)).by(computed),
        "of": of_prediction,
        "count": 12,
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_other_gradients_are_the_same_to_the_bit(way, monkeypatch):
    if way == "loss-aware t":  # two t, so that each soon has its ten losses
        monkeypatch.setattr("test_graph_on_gpu.S", schedule.linear(2))
    assert_same_bits(steps(True, **WAYS[way]), steps(False, **WAYS[way]))


def test_a_graph_of_other_arrays_is_captured_anew():
    """A network that is bound again, and a table that has left the cache since."""
    found = {}
    for how in (False, True):
        unet, results = network(), []
        given = fast.on_gpu(unet, unet, graph=how)[0]
        arrays = [to_device(a, "cuda") for a in (IMAGES[:3], np.array([1, 9, 20]), IMAGES[3:6])]
        with fast.enabled():
            for k in range(6):
                if k == 3:
                    unet.bind(unet.theta * 1.5, unet.grad * 0)
                backend._resident.cache_clear()
                J, errors = given(unet, S, *arrays)
                results.append([J, errors, unet.grad.copy()])
        found[how] = [[to_numpy(a).tobytes() for a in values] for values in results]
    assert found[True] == found[False]


def test_a_resumed_run_is_the_same_to_the_bit(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    config = Config(
        data=str(tmp_path / "images.npy"), device="cuda", unet=SMALL, T=10, batch_size=4, steps=6,
        every=2, patience=0, warmup=0, beta=0.1,
    )  # fmt: skip
    for name, with_graph, ends in (("whole", False, [6]), ("graph", True, [3, 6])):
        for end in ends:
            training.run(
                replace(config, graph=with_graph, steps=end), tmp_path / name, resume="if there"
            )
    whole, again = (
        checkpoint.load(tmp_path / name / run_folder.CHECKPOINT) for name in ("whole", "graph")
    )
    assert whole.step == again.step == 6
    for name, theta in whole.theta.items():
        assert theta.tobytes() == again.theta[name].tobytes()
        assert whole.ema[name].tobytes() == again.ema[name].tobytes()


def reading(*args, **options):
    """A gradient that waits for the GPU in its middle."""
    J, errors = gradient(*args, **options)
    return J * float(J), errors


def test_what_cannot_be_captured_is_said_and_leaves_the_gpu_as_it_was():
    with pytest.raises(RuntimeError, match=r"graph: this step cannot be captured \(.*--graph"):
        steps(True, of=reading)
    assert_same_bits(steps(True), steps(False))


def test_a_gpu_that_is_full_ends_the_capture(monkeypatch):
    def full(size):
        raise cupy.cuda.runtime.CUDARuntimeError(2)

    with monkeypatch.context() as patch:
        patch.setattr(cupy.cuda, "Memory", full)
        with pytest.raises(MemoryError, match="bytes on the GPU for a graph: .*[Mm]emory"):
            steps(True)
    assert_same_bits(steps(True), steps(False))


def test_without_tensor_cores_the_products_are_not_ours(monkeypatch):
    monkeypatch.setattr(graph, "has_tensor_cores", lambda array: False)
    with pytest.raises(ValueError, match=r"graph: expected a GPU of compute capability 8\.0"):
        steps(True)


# ---- bugs that one could make: the comparison above finds them -----------------------------------


class Baked(graph.Captured):
    """A gradient that depends on the number of its call, which a graph does not see."""

    def __init__(self, gradient):
        calls = itertools.count(1)

        def numbered(*args, **options):
            J, errors = gradient(*args, **options)
            return J * next(calls), errors

        super().__init__(numbered)


class Elsewhere(graph.Call):
    """Arrays that are new at each call, where a graph reads the first ones."""

    def again(self, arrays, dropout):
        self.arrays = dict(arrays)
        return super().again(arrays, dropout)


class SameNoise(graph.Call):
    """What dropout drew at the first call."""

    def again(self, arrays, dropout):
        return super().again(arrays, None)


@pytest.mark.parametrize("bug", [Baked, Elsewhere, SameNoise])
def test_a_planted_bug_is_found(bug, monkeypatch):
    monkeypatch.setattr(graph, "Captured" if bug is Baked else "Call", bug)
    with pytest.raises((AssertionError, FloatingPointError)):
        assert_same_bits(steps(True, "dropout"), steps(False, "dropout"))
