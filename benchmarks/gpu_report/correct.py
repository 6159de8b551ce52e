"""Stages that look whether the results are right, before anyone cares how fast they come."""

import dataclasses
import importlib.util
import os

import numpy as np

from .one_stage import SIMULATED
from .stages import ROOT

PROCESSES = 8  # at most, that compile kernels for the tests at the same time
MOST_FAILURES = 30
# By how much a gradient may differ, as a fraction of its largest number. TF32 has 10 bits.
MOST = {"float32": 1e-3, "TF32": 0.1}
TINY_TESTS = "tests/gpu/test_borders_on_gpu.py"
FEATURED = ("digits", "fashion")  # the runs and models that sheets of samples are drawn from


# ---- the tests -----------------------------------------------------------------------------------


def tests(report):
    """`pytest -m gpu`: how many passed, and each failure in full, as they come."""
    try:
        import pytest
    except ImportError:
        report.missing("pytest", "it is not installed")
        return
    os.chdir(ROOT)
    arguments = ["-q", "--tb=short", f"--maxfail={MOST_FAILURES}", "-m"]
    arguments += ["gpu_sim" if SIMULATED else "gpu", TINY_TESTS if report.tiny else "tests/gpu"]
    if importlib.util.find_spec("xdist") and not report.tiny:
        arguments += ["-n", str(min(PROCESSES, os.cpu_count() or 1))]
    outcomes = Outcomes(report)
    status = int(pytest.main(arguments, plugins=[outcomes]))
    report.row(**outcomes.counts, status=status)
    if status not in (0, 1):
        report.row(failed="pytest", error=f"it ended with status {status}: see the output below")


class Outcomes:
    """A plugin of pytest: counts the outcomes, and reports each failure at once."""

    def __init__(self, report):
        self.report, self.counts = report, {"passed": 0, "failed tests": 0, "skipped": 0}

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.counts["failed tests"] += 1
            text = str(report.longrepr)[:4000]
            self.report.row(test=report.nodeid, when=report.when, failure=text)
        elif report.skipped:
            self.counts["skipped"] += 1
        elif report.when == "call":
            self.counts["passed"] += 1
        if report.when == "call" and sum(self.counts.values()) % 50 == 0:  # if the time ends
            self.report.row(**self.counts)

    def pytest_collectreport(self, report):
        if report.failed:
            self.report.row(test=report.nodeid, when="collection", failure=str(report.longrepr))


# ---- J and gradients -----------------------------------------------------------------------------


def gradients(report):
    """Each case's J and ∇J by the fast path, in float32 and TF32, against NumPy's."""
    from autograd.backend import to_numpy
    from tinyddpm.runs.computing import computing

    from ..cases import Case
    from .speed import cases, on_gpu

    def both(case, gradient):
        case.unet.grad[...] = 0
        J, _ = gradient(case.unet, case.schedule, case.x0, case.t, case.eps)
        return float(J), to_numpy(case.unet.grad)

    for name, batch in cases(report):
        with report.part(name):
            reference = Case(name, batch)
            workers = 1 if report.tiny else None
            with computing(reference.unet, reference.unet, reference.schedule, "cpu", workers) as (
                gradient,
                _,
            ):
                J, grad = both(reference, gradient)
            for how in ("float32", "TF32"):
                case = on_gpu(name, batch)
                with computing(case.unet, case.unet, case.schedule, "cuda", tf32=how == "TF32") as (
                    gradient,
                    _,
                ):
                    J_gpu, grad_gpu = both(case, gradient)
                worst, where = worst_difference(case.unet, grad_gpu, grad)
                report.row(
                    **{
                        "case": f"{name}, {how}",
                        "J on the CPU": f"{J:.7g}",
                        "J": f"{J_gpu:.7g}",
                        "difference of J": f"{abs(J_gpu / J - 1):.1e}",
                        "worst gradient differs by": f"{worst:.1e}",
                        "which": where,
                        "as expected": bool(worst < MOST[how]),
                    }
                )
    report.note("A gradient's difference is a fraction of its largest number.")


def worst_difference(unet, found, expected):
    """The largest relative difference of a parameter's gradient, and the parameter."""
    differences = {}
    for name, part in unet.slices().items():
        # The same number added to all keys changes no softmax: the gradient is rounding alone.
        if not name.endswith(".k.bias"):
            largest = np.abs(expected[part]).max()
            differences[name] = float(np.abs(found[part] - expected[part]).max() / largest)
    where = max(differences, key=lambda name: (np.isnan(differences[name]), differences[name]))
    return differences[where], where


# ---- two recipes ---------------------------------------------------------------------------------


def digits(report):
    """The whole recipe, on its expected curve."""
    recipe(report, "digits", None)


def fashion(report):
    """The beginning of the recipe, if Fashion-MNIST is here."""
    recipe(report, "fashion", 500)


def recipe(report, name, steps):
    """Train on the GPU as `tinyddpm train --recipe` does, and compare every evaluation."""
    import shutil

    from tinyddpm.data import DataError
    from tinyddpm.runs import config as configuration, recipes, training
    from tinyddpm.runs.folder import METRICS, read_metrics

    config = configuration.from_dict(configuration.read(recipes.path(name)))
    minutes = max(0.1, 0.8 * report.left / 60)
    config = dataclasses.replace(config, device="cuda", minutes=minutes, patience=0)
    if steps:
        config = dataclasses.replace(config, steps=steps)
    if report.tiny:
        config = tiny(config, report.folder)
    run = folder_of(report, name)
    shutil.rmtree(run, ignore_errors=True)
    try:
        summary = training.run(config, run, recipe=name)
    except DataError as error:
        where = f"`tinyddpm data {config.data}` fetches them where there is a network"
        report.missing(f"the data of {name}", f"{error}. {where}")
        return
    seconds, evaluations = read_metrics(run / METRICS)
    report.row(
        **{
            "recipe": name,
            "steps": summary.step,
            "of": config.steps,
            "steps a second": pace(seconds),
            "held-out J": f"{evaluations[-1]['held_out']:.5f}" if evaluations else "none",
        }
    )
    for row in beside_curve(evaluations, recipes.Curve(name)):
        report.row(**row)


def pace(records):
    """Steps a second over the second half of a run, when kernels are compiled."""
    half = records[len(records) // 2 :]
    if len(half) < 2 or half[-1]["seconds"] <= half[0]["seconds"]:
        return 0.0
    return round((len(half) - 1) / (half[-1]["seconds"] - half[0]["seconds"]), 1)


def beside_curve(evaluations, curve):
    """A row for each evaluation that the recipe's own run made too."""
    known = [(e["k"], e["held_out"], curve.at(e["k"])) for e in evaluations]
    return [
        {
            "step": k,
            "held-out J": f"{J:.5f}",
            "expected": f"{expected:.5f}",
            "by": f"{J / expected - 1:+.2%}",
        }
        for k, J, expected in known
        if expected
    ]


def folder_of(report, name):
    return report.folder / f"run-{name}"


def tiny(config, folder):
    """A run of two steps on images that are quickly made."""
    from tinyddpm.nn import UNetConfig

    images = np.random.default_rng(0).uniform(-1, 1, (20, 1, 4, 6)).astype(np.float32)
    np.save(folder / "images.npy", images)
    unet = UNetConfig(base=4, levels=(1, 2), blocks=1, attention=(2,), heads=2, groups=2)
    changes = {"data": str(folder / "images.npy"), "T": 10, "batch_size": 4, "steps": 2, "every": 1}
    return dataclasses.replace(config, unet=unet, **changes)


# ---- samples -------------------------------------------------------------------------------------


def samples(report):
    """A sheet of samples of each run above; where there is none, of the model that ships."""
    import time

    from tinyddpm.pictures.images import write_samples
    from tinyddpm.runs.opening import Run

    for name in FEATURED:
        with report.part(name):
            trained = next(folder_of(report, name).glob("best.safetensors"), None)
            run = Run(trained.parent if trained else name, "cuda")
            chain = {"sampler": "ddim", "steps": 2} if report.tiny else run.chain()
            picture, began = report.folder / f"samples-{name}.png", time.perf_counter()
            write_samples(run.sample(2 if report.tiny else 64, **chain), picture)
            seconds = round(time.perf_counter() - began, 2)
            of = f"the run above, step {run.step}" if trained else "the model that ships"
            report.row(samples=picture.name, of=of, seconds=seconds)
