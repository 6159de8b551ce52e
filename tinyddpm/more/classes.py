"""Images of the class you ask for: a U-Net conditioned on the class, and classifier-free guidance.

    unet = ClassUNet(ClassConfig(classes=10)).initialise(seed=0)
    cond = dropped(labels, classes=10, fraction=0.1, seed=0)
    for step in train(unet, images, schedule, beta, seed=0, cond=cond):
        …
    sevens = np.full(64, 7)
    denoiser = guided(unet.denoise, sevens, classes=10, weight=3.0)
    *_, (t, x0, _) = ddim(denoiser, schedule, x_T)  # every other sampler takes it too

The real classes are numbered from 0 to `classes` − 1. Number `classes` is the *null class*: an
image of it may be of any class. Training replaces a fraction of the labels by the null class. So
one network learns both the conditional and the unconditional denoiser.

Guidance starts at the unconditional x̂_0, goes towards the conditional one, and on beyond it.
Samples then show their class more plainly, and vary less (Ho & Salimans 2022, "Classifier-free
diffusion guidance").

Without labels, the network takes the null class for all images: `unet.denoise` is then the
unconditional denoiser.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from autograd import Tensor, ops
from autograd.backend import Array, array_module, within

from .. import noise
from ..equivalents import replaceable
from ..nn.module import Module, Parameter
from ..nn.multipliers import Multipliers
from ..nn.time import TimeEmbedding
from ..nn.unet import UNet, UNetConfig
from ..types import Cond, Denoiser


@dataclass(frozen=True)
class ClassConfig(UNetConfig):
    """The shape of a U-Net that is conditioned on the class."""

    classes: Annotated[int, "classes, not counting the null class"] = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes < 1:
            raise ValueError(f"classes: expected at least 1, got {self.classes}")
        if not self.time_conditioning:
            raise ValueError(
                "time_conditioning: expected true, got false: "
                "a network conditioned on the class is conditioned on t too"
            )


class ClassUNet(UNet):
    """xt (N, C, H, W), t (N,) and, as `cond`, a class for each image (N,) -> x̂_0.

    Without `cond`, all images are of the null class.
    """

    config: ClassConfig
    time: TimeEmbedding  # never None: the config insists on conditioning on t

    def __init__(
        self,
        config: ClassConfig = ClassConfig(),
        c: Multipliers = Multipliers(),
    ) -> None:
        super().__init__(config, c)
        self.classes = ClassEmbedding(config.classes, 4 * config.base, c.time)

    def embed(self, t: Array, cond: Array | None = None) -> Tensor:
        """The time embedding plus the class embedding, (N, 4·base)."""
        labels = array_module(t).full(t.shape, self.config.classes) if cond is None else cond
        return self.time(t) + self.classes(labels)


class ClassEmbedding(Module):
    """labels (N,) in {0..classes} -> (N, outputs): rows of a learned table.

    The last row belongs to the null class. All rows start at zero. So, for every class, a new
    network computes what a U-Net conditioned on t alone computes, and no class has a head start by
    chance. Rows move apart as soon as their images ask for different answers.
    """

    def __init__(self, classes: int, outputs: int, c: float) -> None:
        self.c = c
        self.table = Parameter(classes + 1, outputs)

    def forward(self, labels: Array) -> Tensor:
        """The row of each label, times the multiplier c."""
        xp, count = array_module(labels), self.table.shape[0]
        _check_kind("cond", labels)
        # A GPU does not wait for this check. There, a label out of range matches no row and adds 0.
        labels = within("cond", labels, 0, count - 1)
        # One row of zeros and a single 1 for each label, (N, rows). As a product with it, the
        # gradient sums the rows in a fixed order. Scattering them on a GPU would not.
        chosen = (labels[:, None] == xp.arange(count)).astype(self.table.dtype)
        return rows(chosen, self.c * self.table)


@replaceable
def rows(chosen: Array, table: Tensor) -> Tensor:
    """The rows of a table that `chosen` has a 1 for, (N, rows) @ (rows, C)."""
    return ops.matmul(chosen, table)


def dropped(
    labels: Array, classes: int, fraction: float = 0.1, seed: int = 0, first: int = 0
) -> Cond:
    """The conditioning of a training run: the labels, with a fraction replaced by the null class.

    Use it as `train(..., cond=dropped(...))`. Every step draws afresh which labels to replace.
    (Ho & Salimans 2022, algorithm 1; there the fraction is p_uncond, and .1 and .2 worked equally
    well.)

    Args:
        labels: classes (n,) of the training images, integers in {0..classes − 1}.
        classes: the number of real classes, which is also the number of the null class.
        fraction: how many of the labels to replace, from 0 to 1.
        seed: of the random numbers that decide which.
        first: the place in the mini-batch of the first image that `train` draws here.

    Returns:
        A function cond(k, i) -> (M,): the labels of the images i (M,) of step k.

    Raises:
        TypeError: if labels are not integers (n,).
        ValueError: if a label or the fraction is out of range.
    """
    _check_labels("labels", labels, classes - 1, "the last class")
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction: expected 0 to 1, got {fraction}")

    def cond(k: int, i: Array) -> Array:
        xp = array_module(i)
        place = noise.uniform(seed, "dropped labels", k, first + xp.arange(len(i)))
        return xp.where(place < fraction, classes, labels[i])

    return cond


def by_class(denoisers: Sequence[Denoiser]) -> Callable[..., Array]:
    """One denoise(xt, t, labels), made of a denoiser(xt, t) for each class.

    With the ideal denoisers of the images of each class (`ideal.py`), it is the best that a
    ClassUNet could become on training draws.

    Args:
        denoisers: one for each real class, in order, and a last one for the null class.
    """

    def denoise(xt: Array, t: Array, labels: Array | None = None) -> Array:
        xp, null = array_module(xt), len(denoisers) - 1
        labels = xp.full(len(xt), null) if labels is None else labels
        _check_labels("labels", labels, null, "the null class")
        x0_hat = xp.empty_like(xt)
        for c, denoiser in enumerate(denoisers):
            of_class = labels == c
            if of_class.any():
                x0_hat[of_class] = denoiser(xt[of_class], t[of_class])
        return x0_hat

    return denoise


def guided(
    denoise: Callable[[Array, Array, Array], Array],
    labels: Array,
    classes: int,
    weight: float = 1.0,
) -> Denoiser:
    """A denoiser with classifier-free guidance: x̂_0 = x̂_null + weight·(x̂_class − x̂_null).

    Each call costs one call of the network on twice as many images; weights 0 and 1 cost no more
    than the plain denoiser. Ho & Salimans 2022, section 3.2, state the formula for ε̂, with w + 1
    for `weight`. ε̂ is affine in x̂_0, so both say the same. Above 1, x̂_0 easily leaves [−1, 1]:
    keep the sampler's clip.

    Args:
        denoise: denoise(xt, t, labels) -> x̂_0: a ClassUNet's `denoise`, or `Shards.denoise`.
        labels: the class of each image to draw, (N,) integers in {0..classes}.
        classes: the number of real classes of that network.
        weight: 0 is the unconditional denoiser, 1 the conditional one, and more goes beyond it.

    Raises:
        TypeError: if labels are not integers (N,).
        ValueError: if a label is out of range, or a later batch has another number of images.
    """
    _check_labels("labels", labels, classes, "the null class")
    xp = array_module(labels)
    null = xp.full_like(labels, classes)

    def denoiser(xt: Array, t: Array) -> Array:
        if len(xt) != len(labels):
            raise ValueError(
                f"xt: expected {len(labels)} images, one for each label, got {len(xt)}"
            )
        if weight in (0, 1):
            return denoise(xt, t, labels if weight else null)
        either = xp.concatenate([null, labels])
        both = denoise(xp.concatenate([xt, xt]), xp.concatenate([t, t]), either)
        x0_null, x0_class = both[: len(xt)], both[len(xt) :]
        return x0_null + float(weight) * (x0_class - x0_null)

    return denoiser


def _check_labels(name: str, labels: Array, last: int, what: str) -> None:
    """Raise unless labels are integers (N,) in {0..last}.

    Unchecked, a label out of range would silently select no class, or another one.
    """
    _check_kind(name, labels)
    if not labels.size:
        return
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest > last:
        raise ValueError(
            f"{name}: expected classes from 0 to {last} ({what}), got {lowest} to {highest}"
        )


def _check_kind(name: str, labels: Array) -> None:
    if getattr(labels, "ndim", None) != 1 or labels.dtype.kind not in "iu":
        kind, shape = getattr(labels, "dtype", type(labels).__name__), getattr(labels, "shape", ())
        raise TypeError(
            f"{name}: expected a class for each image, integers (N,), got {kind} of shape {shape}"
        )
