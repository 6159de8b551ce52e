"""Every random number of the project, each at its own address: `addressed.py` says how.

    noise.normal(seed=0, purpose="eps", step=7, index=[3, 5], shape=(3, 32, 32))

`philox.py` makes random words, and `box_muller.py` turns them into normal numbers.
This room imports nothing else of tinyddpm.
"""

from .addressed import Index, Stream, bits, integers, normal, uniform

__all__ = ["Index", "Stream", "bits", "integers", "normal", "uniform"]
