"""Chains of a run: which sampler, how many steps, and how to say so.

default_chain(T)                             # what `tinyddpm sample` draws with
chain_length(T, "ddim", steps=50)            # 50, or a ValueError that says what is wrong
said("dpm", 25, eta=1.0, grid="log-snr-6")   # in words
"""

from typing import Any

from autograd import backend

from ..more.schedules import SPACINGS, timestep_grid

SAMPLERS = ("ddpm", "ddim", "dpm", "heun")
NOISY = ("ddim", "dpm")  # those that eta is for


def default_chain(T: int) -> dict[str, Any]:
    """What looks best for its time (docs/samplers.md), as arguments of `Run.sample`."""
    return {"sampler": "dpm", "steps": min(25, T), "eta": 1.0, "grid": "log-snr-6"}


def said(
    sampler: str,
    steps: int,
    eta: float = 0.0,
    grid: str = "even",
    clip: float | None = 1.0,
    guidance: float | None = 1.0,
) -> str:
    """A chain in words: "25 steps of dpm, η = 1, grid log-snr-6"."""
    weight = 1.0 if guidance is None else guidance
    bound = "not clipped" if clip is None else f"clipped at {clip:g}"
    more = [
        (f"η = {eta:g}", sampler in NOISY),
        (f"grid {grid}", grid != "even"),
        (f"x̂₀ {bound}", clip != 1),
        (f"guidance {weight:g}", weight != 1),
    ]
    return ", ".join([f"{steps} steps of {sampler}", *(text for text, there in more if there)])


def chain_length(
    T: int,
    sampler: str,
    steps: int | None = None,
    eta: float = 0.0,
    grid: str = "even",
    clip: float | None = None,
    learned: bool = False,
) -> int:
    """How many steps a chain takes from T down, whatever clip is.

    With a `learned` variance ddpm may take fewer than T.

    Raises:
        ValueError: the sampler does not go with this many steps, this eta or this grid.
    """
    backend.expect(sampler in SAMPLERS, "sampler", f"one of {', '.join(SAMPLERS)}", repr(sampler))
    backend.expect(grid in SPACINGS, "grid", f"one of {', '.join(SPACINGS)}", repr(grid))
    backend.expect(0 <= eta <= 1, "eta", "0 to 1", eta)
    if eta and sampler not in NOISY:
        noise_of = "always adds its noise" if sampler == "ddpm" else "adds no noise"
        raise ValueError(f"eta: {sampler} {noise_of}; choose ddim or dpm for eta = {eta:g}")
    if sampler != "ddpm":
        return len(timestep_grid(T, min(50, T) if steps is None else steps))
    if learned:
        return len(timestep_grid(T, T if steps is None else steps))
    if steps not in (None, T):
        raise ValueError(
            f"steps: ddpm takes all T = {T} steps, unless the run learned its variance; "
            f"choose another for {steps}"
        )
    if grid != "even":
        raise ValueError(f"grid: ddpm visits all T = {T} steps; choose another for {grid}")
    return T
