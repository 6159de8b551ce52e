"""What a run does otherwise than the lecture, in words: nothing, if it does nothing otherwise."""

from ...more.schedules import snr
from ..config import Config

PREDICTIONS = {"eps": "the noise ε", "v": "the velocity v"}
WEIGHTS = {
    "none": "not weighted",
    "snr": "weighted by SNR",
    "min_snr": "weighted by SNR, up to 5 (min-SNR)",
    "truncated_snr": "weighted by SNR, at least 1",
    "snr_plus_1": "weighted by SNR + 1",
}
OPTIMISERS = {"momentum": "momentum", "adam": "Adam"}
UNBOUNDED = ("snr", "truncated_snr", "snr_plus_1")  # as t becomes small, of x̂₀
BOUNDED = ("snr", "min_snr")  # as t becomes large, of ε̂
FALLS = {"linear": "linearly", "cosine": "as a cosine"}


def departures(config: Config) -> list[str]:
    """Sentences for the first lines of a run; none if it is the lecture's algorithm."""
    weighted, other = config.weight != "none", config.predicts != "x0"
    found = []
    if other:
        found.append(f"the network predicts {PREDICTIONS[config.predicts]}, not x₀")
    if weighted or other:
        found.append(f"the squared error of x̂₀ is {WEIGHTS[config.weight]}")
    if config.learn_sigma:
        found.append(
            "the variance is learned as well, by the variational bound times T/1000 (added to J)"
        )
    if config.loss_aware_t:
        found.append(
            "once each t was drawn ten times, t is drawn more often where the loss is large, and "
            "weighted less there"
        )
    if config.optimiser != "sgd":
        found.append(f"{OPTIMISERS[config.optimiser]} instead of plain gradient descent")
    if config.multipliers == "measured":
        found.append(
            f"multipliers are measured in the first {config.warmup:,} steps, then frozen "
            "(docs/sgd.md)"
        )
    if config.decay_steps:
        found.append(f"β falls {FALLS[config.decay]} to 0 at step {config.decay_steps:,}")
    if not found:
        return []
    by_hand = ", with multipliers found by hand" if config.multipliers == "hand" else ""
    said = [f"Other than in the lecture: {'; '.join(found)}. β is {config.beta:g}{by_hand}."]
    if weighted:
        said.append(
            "The J of a step is weighted too. The held-out J never is: it is of x̂₀, so that runs "
            "compare."
        )
    if config.predicts == "x0" and config.weight in UNBOUNDED and config.optimiser != "adam":
        said.append(
            "This weight grows to 10,000 at small t. With truncated_snr our trials diverged "
            "(docs/sgd.md); min_snr stops at 5."
        )
    if config.predicts == "eps" and config.weight not in BOUNDED and config.optimiser != "adam":
        most = float(1 / snr(config.make_schedule())[-1])
        said.append(
            f"At large t an error of ε̂ then counts up to {most:,.0f} times, and runs diverge. "
            "`--weight snr`, which suits ε, counts it once."
        )
    if config.learn_sigma and config.predicts == "x0":
        said.append(
            "At small t the bound is large for x̂₀, whatever the variance (docs/guide.md): eps or "
            "v suits a learned variance better."
        )
    if config.learn_sigma:
        said.append(
            "Only `--sampler ddpm` draws its noise with the learned variance. The other samplers "
            "use x̂₀ alone."
        )
    if config.predicts == "eps":
        said.append(
            "The held-out J of a network that predicts ε is large: at large t a small error of ε̂ "
            "is a large one of x̂₀, which sampling clips."
        )
    return said
