"""Where faster code plugs in, with one decorator as its only trace in the code that is read.

    @replaceable
    def conv2d(x, w): ...          # the definition

A package such as `tinyddpm.fast` may put a faster equivalent into FASTER under the function's name, together with a test
of the arguments that it accepts. Whatever it does not accept, and everything if nobody put anything there, is computed
by the definition.
"""
from contextlib import contextmanager
from functools import wraps

FASTER = {}  # name -> (accepts, equivalent); both take the arguments of the definition


def replaceable(definition):
    """Let FASTER[name of the definition] take its place where it accepts the arguments."""

    @wraps(definition)
    def call(*args, **options):
        accepts, equivalent = FASTER.get(definition.__name__, (None, None))
        if accepts and accepts(*args, **options):
            return equivalent(*args, **options)
        return definition(*args, **options)

    return call


@contextmanager
def replaced_by(equivalents):
    """Within the block these equivalents take their definitions' place; after it FASTER is what it was before.

    equivalents  name -> (accepts, equivalent), as in FASTER
    """
    before = dict(FASTER)
    FASTER.update(equivalents)
    try:
        yield
    finally:
        FASTER.clear()
        FASTER.update(before)
