"""The scheduler_config.json beside a network of diffusers: its noise schedule, what it predicts.

    found = read("ddpm-cifar10-32")        # a Scheduler, or None if there is no such file
    found.schedule, found.predicts         # ours, and "eps", "x0" or "v"
    write(found, "folder")                 # for DDPMScheduler.from_pretrained(folder)

A Scheduler knows the steps that DDIM visits, too. One option is ignored, `set_alpha_to_one`: our
chains always end at the clean image, where false lets diffusers' end at its t = 0, our t = 1.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from autograd.backend import expect

from ..more.schedules import zero_terminal_snr
from ..schedule import Schedule, cosine
from .diffusers_config import (
    FALSE,
    FLAG,
    NULL,
    WHOLE,
    Option,
    checked,
    is_number,
    is_one_of,
)
from .diffusers_files import SCHEDULER, read_json, scheduler_file

CONFIG = SCHEDULER
KINDS = ("DDPMScheduler", "DDIMScheduler", "DDPMParallelScheduler", "DDIMParallelScheduler")
PREDICTS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
# (large_variance, learned_variance)
VARIANCES = {
    "fixed_small": (False, False),
    "fixed_small_log": (False, False),
    "fixed_large": (True, False),
    "learned_range": (False, True),
}
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
SPACINGS = ("leading", "trailing", "linspace")


class Scheduler(NamedTuple):
    """What goes with a network: how it was trained, and how to sample from it.

    Attributes:
        schedule: the noise schedule.
        predicts: "eps", "x0" or "v".
        clip: the bound of x̂_0, or None.
        large_variance: whether the noise of a step has the variance β_t, and not β̃_t.
        spacing: "leading", "trailing" or "linspace": which steps a chain of fewer than T visits.
        offset: how much later than that "leading" is.
        learned_variance: whether it is what the network says, between β̃_t and β_t.
    """

    schedule: Schedule
    predicts: str = "eps"
    clip: float | None = 1.0
    large_variance: bool = False
    spacing: str = "trailing"
    offset: int = 0
    learned_variance: bool = False

    def timesteps(self, steps: int) -> list[int]:
        """The t of a chain of so many steps, as diffusers spaces them, the largest first.

        (Lin et al. 2023, "Common diffusion noise schedules and sample steps are flawed", table 2.)
        "leading" never visits T, so it starts from more noise than the network was told; the other
        two do. All three round halves to even numbers. "leading" is moved by `offset`, as far as T.
        """
        T = self.schedule.T
        valid = isinstance(steps, int) and 1 <= steps <= T
        expect(valid, "steps", f"1 to T = {T}", repr(steps))
        if self.spacing == "trailing":
            return [round(T * i / steps) for i in range(steps, 0, -1)]
        if self.spacing == "linspace":
            return [1 + round(t) for t in np.linspace(0, T - 1, steps)[::-1].tolist()]
        stride = T // steps
        first = 1 + min(self.offset, T - 1 - (steps - 1) * stride)
        return [first + i * stride for i in range(steps - 1, -1, -1)]


def is_list_of_numbers_or_none(value: object) -> bool:
    """Whether it is a list of integers and floats, or null."""
    return value is None or (isinstance(value, list) and all(map(is_number, value)))


def is_whole_or_zero(value: object) -> bool:
    """Whether it is an integer, at least 0."""
    return type(value) is int and value >= 0


def is_positive(value: object) -> bool:
    """Whether it is a finite number above 0."""
    return isinstance(value, (int, float)) and value is not True and 0 < value < math.inf


def is_variance(value: Any) -> bool:
    """Whether it is a number above 0, and at most 1."""
    return is_positive(value) and value <= 1


def is_anything(value: object) -> bool:
    """Whatever it is: the option does not matter here."""
    return True


VARIANCE = is_variance, "a number above 0, at most 1"

OPTIONS = {
    "num_train_timesteps": Option(1000, *WHOLE),
    "beta_start": Option(0.0001, *VARIANCE),
    "beta_end": Option(0.02, *VARIANCE),
    "beta_schedule": Option("linear", is_one_of(*BETA_SCHEDULES), " or ".join(BETA_SCHEDULES)),
    "trained_betas": Option(None, is_list_of_numbers_or_none, "a list of numbers or null"),
    "variance_type": Option("fixed_small", is_one_of(*VARIANCES), " or ".join(VARIANCES)),
    "clip_sample": Option(True, *FLAG),
    "clip_sample_range": Option(1.0, is_positive, "a positive number"),
    "prediction_type": Option("epsilon", is_one_of(*PREDICTS), " or ".join(PREDICTS)),
    # This is what prediction_type was called in 2022.
    "predict_epsilon": Option(None, is_one_of(None, True, False), "true or false"),
    "thresholding": Option(False, *FALSE),
    "rescale_betas_zero_snr": Option(False, *FLAG),
    "timestep_values": Option(None, *NULL),
    "dynamic_thresholding_ratio": Option(None, is_anything, ""),
    "sample_max_value": Option(None, is_anything, ""),
    "timestep_spacing": Option("leading", is_one_of(*SPACINGS), " or ".join(SPACINGS)),
    "set_alpha_to_one": Option(None, is_anything, ""),
    "skip_prk_steps": Option(None, is_anything, ""),
    "steps_offset": Option(0, is_whole_or_zero, "a whole number, at least 0"),
}


def from_options(options: Mapping[str, Any]) -> Scheduler:
    """A Scheduler from the options in a scheduler_config.json.

    Raises:
        ValueError: naming the option that is unknown or that we cannot express.
    """
    kind = options.get("_class_name") if isinstance(options, dict) else None
    if isinstance(kind, str) and kind.endswith("Scheduler") and kind not in KINDS:
        raise ValueError(
            f"_class_name: expected {KINDS[0]} or {KINDS[1]}, got {kind!r}: if the network was "
            f"trained with such a one, let diffusers write it: "
            f"{KINDS[0]}.from_config(scheduler.config).save_pretrained(folder)"
        )
    o = checked(options, OPTIONS, KINDS)
    predicts = "sample" if o["predict_epsilon"] is False else o["prediction_type"]
    schedule = _schedule(o)
    if o["rescale_betas_zero_snr"]:
        schedule = zero_terminal_snr(schedule)
    if predicts == "epsilon" and schedule.alpha_bar[-1] == 0:
        name = "rescale_betas_zero_snr" if o["rescale_betas_zero_snr"] else "trained_betas"
        raise ValueError(
            f"{name}: expected a schedule whose x_T has something of the image, since the network "
            "predicts epsilon, got one with zero terminal SNR; it needs v_prediction or sample"
        )
    large, learned = VARIANCES[o["variance_type"]]
    return Scheduler(
        schedule=schedule,
        predicts=PREDICTS[predicts],
        clip=float(o["clip_sample_range"]) if o["clip_sample"] else None,
        large_variance=large,
        spacing=o["timestep_spacing"],
        offset=o["steps_offset"],
        learned_variance=learned,
    )


def _schedule(o: dict[str, Any]) -> Schedule:
    """The noise schedule in float64; diffusers computes the same in float32."""
    T, betas = o["num_train_timesteps"], o["trained_betas"]
    start, end = o["beta_start"], o["beta_end"]
    if betas is not None:
        if len(betas) != T:
            expected = f"{T} numbers, as num_train_timesteps"
            raise ValueError(f"trained_betas: expected {expected}, got {len(betas)}")
        return Schedule(betas)
    kind = o["beta_schedule"]
    if kind == "linear":
        return Schedule(np.linspace(start, end, T))
    if kind == "scaled_linear":
        return Schedule(np.linspace(start**0.5, end**0.5, T) ** 2)
    if kind == "sigmoid":
        return Schedule(start + (end - start) / (1 + np.exp(-np.linspace(-6, 6, T))))
    return cosine(T)


def to_options(scheduler: Scheduler) -> dict[str, Any]:
    """The options of a DDPMScheduler. `from_options` reads them back."""
    beta = scheduler.schedule.beta[1:]
    line = np.linspace(beta[0], beta[-1], len(beta))
    if np.allclose(beta, line, rtol=1e-12, atol=0):
        betas = {"beta_start": float(beta[0]), "beta_end": float(beta[-1])}
    else:
        betas = {"trained_betas": beta.tolist()}
    clip: dict[str, Any] = {"clip_sample": scheduler.clip is not None}
    if scheduler.clip is not None:
        clip["clip_sample_range"] = scheduler.clip
    names = {ours: theirs for theirs, ours in PREDICTS.items()}
    variance = "fixed_large" if scheduler.large_variance else "fixed_small"
    return {
        "_class_name": KINDS[0],
        "num_train_timesteps": len(beta),
        "beta_schedule": "linear",
        **betas,
        **clip,
        "prediction_type": names[scheduler.predicts],
        "variance_type": "learned_range" if scheduler.learned_variance else variance,
        "timestep_spacing": scheduler.spacing,
        "steps_offset": scheduler.offset,
    }


def read(folder: str | Path) -> Scheduler | None:
    """The Scheduler that goes with the folder of a model or of a pipeline, or None.

    `diffusers_files.scheduler_file` says where it may lie.

    Raises:
        ValueError: naming the file and the option.
    """
    path = scheduler_file(folder)
    if path is None:
        return None
    options = read_json(path)
    try:
        return from_options(options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write(scheduler: Scheduler, folder: str | Path) -> None:
    """Write scheduler_config.json."""
    content = json.dumps(to_options(scheduler), indent=2) + "\n"
    (Path(folder) / CONFIG).write_text(content, encoding="utf-8")
