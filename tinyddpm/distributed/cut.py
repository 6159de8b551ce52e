"""Which shards of a mini-batch are a rank's."""

from typing import NamedTuple

from ..fast.parallel.part import even_parts


class Cut(NamedTuple):
    """What `cut` gives.

    Attributes:
        owners: the rank of each shard; it never falls.
        mine: this rank's shards, as places in the mini-batch.
    """

    owners: list[int]
    mine: list[slice]

    @property
    def samples(self) -> slice:
        """The places of all its images."""
        return slice(self.mine[0].start, self.mine[-1].stop)


def cut(batch_size: int, shards: int, rank: int, size: int) -> Cut:
    """The shards that `Shards` cuts a mini-batch into, some in a row for each rank.

    Raises:
        ValueError: there are more ranks than shards, so that one would have nothing to do.
    """
    parts = even_parts(batch_size, max(1, min(shards, batch_size)))
    if size > len(parts):
        raise ValueError(
            f"shards: expected at least one for each of {size} ranks, "
            f"got {shards} of {batch_size} images"
        )
    owned = even_parts(len(parts), size)
    owners = [r for r, s in enumerate(owned) for _ in range(s.start, s.stop)]
    return Cut(owners, parts[owned[rank]])


def from_zero(parts: list[slice]) -> list[slice]:
    """Neighbouring slices, moved so that the first begins at 0."""
    start = parts[0].start
    return [slice(s.start - start, s.stop - start) for s in parts]
