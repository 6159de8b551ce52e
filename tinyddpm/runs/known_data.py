"""Whether images are still those that a run was trained on."""

from collections.abc import Sequence

from ..data import DataError, Dataset, labels
from ..interop.imported import IMPORTED
from .checkpoint import Checkpoint

OTHERS = (
    "These are not the images that the run was trained on. Images called held out or test images "
    "may be among those."
)


def has_data(saved: Checkpoint, called: str) -> None:
    """Raise DataError for a network from diffusers, which was trained elsewhere."""
    if IMPORTED in saved.state:
        raise DataError(
            f"{called}: expected a run, got a network from diffusers, which has no images here: it "
            "is to sample from"
        )


def compared(saved: Checkpoint, dataset: Dataset, names: Sequence[str]) -> str:
    """What to say if the images are others now; empty if they are not, or nobody knows.

    Args:
        saved: the run's checkpoint. An imported one knows of no images.
        dataset: what the run's configuration loads now, labelled if the run has classes.
        names: of its classes.

    Raises:
        DataError: the run is conditioned on classes, and there are others now, or in another order.
    """
    known = saved.config.class_names
    if saved.config.classes and list(names) != list(known):
        new, missing = (", ".join(sorted(a)) for a in ({*names} - {*known}, {*known} - {*names}))
        found = "; ".join(
            f"{words}: {some}" for words, some in (("new", new), ("missing", missing)) if some
        )
        raise DataError(
            f"{saved.config.data}: expected the classes that the run was trained with, got others "
            f"({found or 'the same in another order'})"
        )
    same = saved.state.get("data") in (None, labels.fingerprint(dataset))
    return "" if same else OTHERS
