"""Images of a class that is asked for: a U-Net that is told the class, and classifier-free guidance.

    unet = ClassUNet(ClassConfig(classes=10)).initialise(seed=0)
    given = dropped(labels, classes=10, share=0.1, seed=0)
    for step in train(unet, images, schedule, beta, seed=0, given=given):
        …
    sevens = np.full(64, 7)
    denoiser = guided(unet.denoise, sevens, classes=10, weight=3.0)
    *_, (t, x0, _) = ddim(denoiser, schedule, x_T)              # it takes the plain denoiser's place in every sampler

Besides its `classes` real classes, numbered from 0, the network knows a last one, number `classes`: the *null class*, "not
told". In training a share of the labels is replaced by it, so one network learns both the conditional and the unconditional
denoiser. Guidance then goes from the unconditional x̂_0 towards the conditional one, and on beyond it: samples show more
plainly what class they are of, and vary less (Ho & Salimans 2022, "Classifier-free diffusion guidance").

Called without labels, the network takes all images for the null class: `unet.denoise` is the unconditional denoiser.
"""
from dataclasses import dataclass

from autograd import ops
from autograd.backend import array_module, within

from .. import noise
from ..nn.module import Module, Parameter
from ..nn.multipliers import Multipliers
from ..nn.unet import UNet, UNetConfig


@dataclass(frozen=True)
class ClassConfig(UNetConfig):
    """The shape of a U-Net that is told a class."""
    classes: int = 10                        # how many there are, the null class not counted

    def __post_init__(self):
        super().__post_init__()
        if self.classes < 1:
            raise ValueError(f"classes: expected at least 1, got {self.classes}")
        if not self.time_conditioning:
            raise ValueError("time_conditioning: expected true, since the class reaches the residual blocks together with t")


class ClassUNet(UNet):
    """xt (N, C, H, W), t (N,), and as `given` a class for each image (N,) -> x̂_0. Without `given`, no image's class is told."""

    def __init__(self, config=ClassConfig(), c=Multipliers()):
        super().__init__(config, c)
        self.classes = ClassEmbedding(config.classes, 4 * config.base, c.time)

    def embed(self, t, cond=None):
        labels = array_module(t).full(t.shape, self.config.classes) if cond is None else cond
        return self.time(t) + self.classes(labels)


class ClassEmbedding(Module):
    """labels (N,) in {0..classes} -> (N, outputs): the row of a learned table, the last of which is the null class's.

    All rows start at zero. So a new network computes, for every class, just what a U-Net that is told t alone computes, and
    what it starts as is no accident of the draw; rows part as soon as their images ask for different answers.
    """

    def __init__(self, classes, outputs, c):
        self.c = c
        self.table = Parameter(classes + 1, outputs)

    def forward(self, labels):
        xp, rows = array_module(labels), self.table.shape[0]
        _check_kind("cond", labels)
        labels = within("cond", labels, 0, rows - 1)  # on a GPU nobody waits to see: a number out of range is told as no class
        # As a product the gradient sums rows in a fixed order, which scattering them on a GPU would not.
        chosen = (labels[:, None] == xp.arange(rows)).astype(self.table.dtype)  # (N, rows), one 1 in each row
        return ops.matmul(chosen, self.c * self.table)


def dropped(labels, classes, share=0.1, seed=0):
    """The labels that `train` gives its network: `share` of them, drawn anew at each step, replaced by the null class.

    labels  (n,) integers in {0..classes − 1}, those of the images to train on
    Returns a function (k, drawn) -> (M,) labels, for `train`'s argument `given`: k is the step, drawn (M,) the images' numbers.
    (Ho & Salimans 2022, algorithm 1, where share is p_uncond; .1 and .2 did equally well there.)
    """
    _check_labels("labels", labels, classes - 1, "the last class")
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected 0 to 1, got {share}")

    def cond(k, drawn):
        xp = array_module(drawn)
        place = noise.uniform(seed, "dropped labels", k, xp.arange(len(drawn)))
        return xp.where(place < share, classes, labels[drawn])

    return cond


def by_class(denoisers):
    """A denoise(xt, t, labels) as `guided` takes it, made of one denoiser(xt, t) for each class and a last one for the null class.

    Such as the ideal denoisers of the images of each class (`ideal.py`): what a ClassUNet would be at its best on training draws.
    """
    def denoise(xt, t, labels=None):
        xp, null = array_module(xt), len(denoisers) - 1
        labels = xp.full(len(xt), null) if labels is None else labels
        _check_labels("labels", labels, null, "the null class")
        x0_hat = xp.empty_like(xt)
        for c in range(null + 1):
            of_class = labels == c
            if of_class.any():
                x0_hat[of_class] = denoisers[c](xt[of_class], t[of_class])
        return x0_hat

    return denoise


def guided(denoise, labels, classes, weight=1.0):
    """A denoiser(xt, t) with classifier-free guidance: x̂_0 = x̂_null + weight·(x̂_class − x̂_null).

    denoise  denoise(xt, t, labels) -> x̂_0, that of a ClassUNet with so many classes: `unet.denoise` or `Shards.denoise`
    labels   (N,) integers in {0..classes}: the class asked for of each image of the batches to come
    weight   0 is the unconditional model, 1 the conditional one, more than 1 goes beyond it. It costs one call of the network
             on twice as many images, at 0 and 1 on as many.

    Ho & Salimans 2022, section 3.2, state it for ε̂ with w + 1 for `weight`; ε̂ is affine in x̂_0, so it is the same there. Beyond
    1 x̂_0 leaves [−1, 1] easily: keep the sampler's clip.
    """
    _check_labels("labels", labels, classes, "the null class")
    xp = array_module(labels)
    null = xp.full_like(labels, classes)

    def denoiser(xt, t):
        if len(xt) != len(labels):
            raise ValueError(f"xt: expected {len(labels)} images, one for each label, got {len(xt)}")
        if weight in (0, 1):
            return denoise(xt, t, labels if weight else null)
        both = denoise(xp.concatenate([xt, xt]), xp.concatenate([t, t]), xp.concatenate([null, labels]))
        x0_null, x0_class = both[:len(xt)], both[len(xt):]
        return x0_null + float(weight) * (x0_class - x0_null)

    return denoiser


def _check_labels(name, labels, last, what):
    """Raise unless labels are integers (N,) in {0..last}: a number out of range would silently be no class, or another one."""
    _check_kind(name, labels)
    if labels.size and not (0 <= int(labels.min()) and int(labels.max()) <= last):
        raise ValueError(f"{name}: expected classes from 0 to {last} ({what}), got {int(labels.min())} to {int(labels.max())}")


def _check_kind(name, labels):
    if getattr(labels, "ndim", None) != 1 or labels.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected a class for each image, integers (N,), got {getattr(labels, 'dtype', type(labels).__name__)} "
                        f"of shape {getattr(labels, 'shape', ())}")
