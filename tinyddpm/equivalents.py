"""Where faster code plugs in. One decorator is its only trace in the code that is read.

    @replaceable
    def conv2d(x, w): ...          # the definition

A package such as `tinyddpm.fast` may put a faster equivalent into FASTER under the function's name,
together with a test of the arguments that it accepts. The definition computes whatever it does not
accept, and everything if nobody put anything there.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from autograd import Tensor

# name -> (accepts, equivalent); both take the arguments of the definition
FASTER: dict[str, tuple[Callable[..., bool], Callable[..., Tensor]]] = {}


def replaceable(definition: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let FASTER[name of the definition] take its place where it accepts the arguments."""

    @wraps(definition)
    def call(*args: Any, **options: Any) -> Tensor:
        if definition.__name__ in FASTER:
            accepts, equivalent = FASTER[definition.__name__]
            if accepts(*args, **options):
                return equivalent(*args, **options)
        return definition(*args, **options)

    return call
