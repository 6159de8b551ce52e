"""How wrong a network is where there is little noise, and what that does to the end of a chain.

    python -m benchmarks.network_error digits      # two tables in docs/samplers.md

The first table takes noisy test images. It compares the network's guess x̂_0 with the image, and
x_t/√ᾱ_t with it: what one has without any network. The second gives test images the noise of t = 40
and lets the rest of a chain draw them back. Errors are root mean squares of images in [−1, 1].
"""

import argparse
from collections.abc import Iterator

import numpy as np

from tinyddpm import data, noise
from tinyddpm.diffusion import q_sample
from tinyddpm.more.schedules import spaced_grid
from tinyddpm.more.solvers import ddim
from tinyddpm.runs.opening import Run
from tinyddpm.types import Denoiser

N = 100  # images
TIMESTEPS = (1, 5, 10, 20, 40, 80, 160, 320)
START = 40
GRIDS = {"even": 50, "log-snr-6": 25, "log-snr": 25}  # as in chains of so many steps


class Bench:
    """A model and its test images, each with its class if the model wants it."""

    def __init__(self, model: str) -> None:
        self.run = Run(model)
        self.schedule, test = self.run.schedule, data.load_test(self.run.config.data)
        self.images = test.images[:N]
        self.labels = (
            test.labels[:N] if self.run.config.classes and test.labels is not None else None
        )

    def noisy(self, t: int) -> np.ndarray:
        """The images with the noise of t."""
        return q_sample(self.schedule, self.images, np.full(N, t), self.noise(t))

    def noise(self, t: int) -> np.ndarray:
        """Standard normal noise, addressed by t."""
        return noise.normal(0, "network_error", t, np.arange(N), self.images.shape[1:])

    def error(self, images: np.ndarray) -> float:
        """How far these images are from the test images."""
        return float(((images.clip(-1, 1) - self.images) ** 2).mean() ** 0.5)

    def guesses(self, denoise: Denoiser) -> Iterator[str]:
        """The rows of the first table."""
        for t in TIMESTEPS:
            alpha_bar, xt = float(self.schedule.alpha_bar[t]), self.noisy(t)
            kept, guess = xt / alpha_bar**0.5, denoise(xt, np.full(N, t))
            sigma = (1 / alpha_bar - 1) ** 0.5
            yield f"| {t} | {sigma:.3f} | {self.error(guess):.3f} | {self.error(kept):.3f} |"

    def ends(self, denoise: Denoiser) -> Iterator[str]:
        """The rows of the second table."""
        for name, steps in GRIDS.items():
            visited = [START, *(t for t in spaced_grid(self.schedule, steps, name) if t < START)]
            errors = []
            for eta in (0.0, 1.0):
                chain = ddim(denoise, self.schedule, self.noisy(START), self.again, visited, eta)
                *_, (_, back, _) = chain
                errors.append(f"{self.error(back):.3f}")
            timesteps = ", ".join(map(str, visited))
            yield f"| `{name}`, {steps} steps | {timesteps} | {' | '.join(errors)} |"

    def again(self, t: int) -> np.ndarray:
        """Other noise than that of `noisy`."""
        return self.noise(1000 + t)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=["fashion", "digits"])
    bench = Bench(parser.parse_args().model)
    with bench.run.denoiser(bench.labels) as denoise:
        print("| t | σ | error of x̂₀ | error of x_t |", "|---:|---:|---:|---:|", sep="\n")
        print("\n".join(bench.guesses(denoise)), end="\n\n")
        print(
            "| grid | timesteps from 40 on | error, η = 0 | η = 1 |",
            "|---|---|---:|---:|",
            sep="\n",
        )
        print("\n".join(bench.ends(denoise)))


if __name__ == "__main__":
    main()
