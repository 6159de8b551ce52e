"""What an update remembers of the steps before, as arrays by name: for checkpoints.

    arrays = update.state()     # after some steps; {} if there is nothing to remember yet
    other.load(arrays)          # now `other` goes on as `update` would

Whatever has these two methods belongs to one run, and is saved with it. A name has no dot. An array
is either a vector like θ, or anything smaller, such as a count in an array (1,). Each is a float.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from autograd.backend import Array, expect


@runtime_checkable
class Remembers(Protocol):
    """An update, or a gradient, whose next step depends on more than θ."""

    def state(self) -> dict[str, Array]:
        """What it remembers, by name. The arrays are its own and not copies: do not change them."""
        ...

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on from what `state` gave. It keeps the arrays, on the device where they lie.

        Raises:
            ValueError: `state` is not of such an update.
        """
        ...


def check_names(state: Mapping[str, Array], *names: str) -> None:
    """Raise ValueError unless the state has these names. Without any it is one of no steps yet."""
    expected = f"{', '.join(names)}, or nothing"
    expect(not state or set(state) == set(names), "state", expected, ", ".join(sorted(state)))
