"""matplotlib as it comes: nobody's settings reach our figures, and ours reach nobody's.

    @own_settings()
    def loss(path, ...):     # a figure that is made and saved in here is the same everywhere

matplotlib reads MPLBACKEND once, when it is imported, and fails where it does not know the name:
that of a Jupyter kernel, for one, which every process that a notebook starts inherits. So this
module imports it first, without that variable.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

BACKEND = "MPLBACKEND"
_one_at_a_time = threading.RLock()  # matplotlib has one set of settings for all threads


def _import() -> None:
    """Import matplotlib. The user's backend is set afterwards, if it is there."""
    wanted = None if "matplotlib" in sys.modules else os.environ.pop(BACKEND, None)
    try:
        import matplotlib
    except UnicodeDecodeError as error:  # matplotlib has logged the file's name
        raise ValueError(f"matplotlibrc: expected a file in UTF-8: {error}") from None
    finally:
        if wanted is not None:
            os.environ[BACKEND] = wanted
    if wanted:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = wanted


_import()


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """In this block (or decorated function) matplotlib's settings are its defaults.

    Afterwards they are the user's again. The backend is not among them: we save figures with Agg.
    """
    import matplotlib

    with _one_at_a_time, matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield
