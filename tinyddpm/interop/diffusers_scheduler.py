"""The scheduler_config.json beside a network of diffusers: the noise schedule that it was trained with, and what it predicts.

    found = read("ddpm-cifar10-32")        # a Scheduler, or None if there is no such file
    found.schedule, found.predicts         # ours, and "eps", "x0" or "v"
    write(found, "folder")                 # for DDPMScheduler.from_pretrained(folder)

Which of the steps a sampler visits (timestep_spacing, steps_offset, set_alpha_to_one) is not the model's: those options are passed over.
"""
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..schedule import Schedule, cosine
from .diffusers_config import checked, flag, number, only, whole
from .diffusers_unet import read_json

CONFIG = "scheduler_config.json"
KINDS = ("DDPMScheduler", "DDIMScheduler")
PREDICTS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
VARIANCES = {"fixed_small": False, "fixed_small_log": False, "fixed_large": True}


class Scheduler(NamedTuple):
    """schedule: Schedule;  predicts: "eps", "x0" or "v";  clip: bound of x̂_0, or None;  large_variance: β_t, not β̃_t, is the noise of a step."""
    schedule: Schedule
    predicts: str = "eps"
    clip: float | None = 1.0
    large_variance: bool = False


def anything(value):
    return True


# option: (diffusers' default, what is accepted, that in words)
OPTIONS = {
    "num_train_timesteps": (1000, whole, "a whole number"),
    "beta_start": (0.0001, number, "a number"),
    "beta_end": (0.02, number, "a number"),
    "beta_schedule": ("linear", only("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"), "linear, scaled_linear, squaredcos_cap_v2 or sigmoid"),
    "trained_betas": (None, lambda v: v is None or isinstance(v, list) and all(map(number, v)), "a list of numbers or null"),
    "variance_type": ("fixed_small", only(*VARIANCES), " or ".join(VARIANCES)),
    "clip_sample": (True, flag, "true or false"),
    "clip_sample_range": (1.0, number, "a number"),
    "prediction_type": ("epsilon", only(*PREDICTS), " or ".join(PREDICTS)),
    "predict_epsilon": (None, only(None, True, False), "true or false"),  # what prediction_type was called in 2022
    "thresholding": (False, only(False), "false"),
    "rescale_betas_zero_snr": (False, only(False), "false"),
    "timestep_values": (None, only(None), "null"),
    **dict.fromkeys(("dynamic_thresholding_ratio", "sample_max_value", "timestep_spacing", "set_alpha_to_one", "skip_prk_steps"), (None, anything, "")),
    "steps_offset": (0, anything, ""),
}


def from_options(options):
    """A Scheduler from a dict of options. ValueError, naming the option, for what is unknown or cannot be expressed."""
    o = checked(options, OPTIONS, KINDS)
    predicts = PREDICTS["sample" if o["predict_epsilon"] is False else o["prediction_type"]]
    return Scheduler(_schedule(o), predicts, float(o["clip_sample_range"]) if o["clip_sample"] else None, VARIANCES[o["variance_type"]])


def _schedule(o):
    """In float64, where diffusers computes the same in float32."""
    T, start, end = o["num_train_timesteps"], o["beta_start"], o["beta_end"]
    if o["trained_betas"] is not None:
        if len(o["trained_betas"]) != T:
            raise ValueError(f"trained_betas: expected {T} numbers, as num_train_timesteps, got {len(o['trained_betas'])}")
        return Schedule(o["trained_betas"])
    kind = o["beta_schedule"]
    if kind == "linear":
        return Schedule(np.linspace(start, end, T))
    if kind == "scaled_linear":
        return Schedule(np.linspace(start**0.5, end**0.5, T) ** 2)
    if kind == "sigmoid":
        return Schedule(start + (end - start) / (1 + np.exp(-np.linspace(-6, 6, T))))
    return cosine(T)


def to_options(scheduler):
    """The options of a DDPMScheduler, which `from_options` takes back."""
    beta = scheduler.schedule.beta[1:]
    straight = np.allclose(beta, np.linspace(beta[0], beta[-1], len(beta)), rtol=1e-12, atol=0)
    betas = {"beta_start": float(beta[0]), "beta_end": float(beta[-1])} if straight else {"trained_betas": beta.tolist()}
    clip = {"clip_sample": scheduler.clip is not None} | ({} if scheduler.clip is None else {"clip_sample_range": scheduler.clip})
    return {"_class_name": KINDS[0], "num_train_timesteps": len(beta), "beta_schedule": "linear", **betas, **clip,
            "prediction_type": {ours: theirs for theirs, ours in PREDICTS.items()}[scheduler.predicts],
            "variance_type": "fixed_large" if scheduler.large_variance else "fixed_small"}


def read(folder):
    """The Scheduler in the folder of a model, or of a pipeline, which has it in scheduler/. None if there is none."""
    folder = Path(folder)
    path = next((p for p in (folder / CONFIG, folder / "scheduler" / CONFIG) if p.exists()), None)
    if path is None:
        return None
    try:
        return from_options(read_json(path))
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None


def write(scheduler, folder):
    """Write scheduler_config.json."""
    (Path(folder) / CONFIG).write_text(json.dumps(to_options(scheduler), indent=2) + "\n", encoding="utf-8")
