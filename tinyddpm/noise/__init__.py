"""Every random number of the project, each at its own address: `addressed.py` says how.

    noise.normal(seed=0, purpose="eps", step=7, index=[3, 5], shape=(3, 32, 32))

The numbers are made of `philox.py`'s random words; `box_muller.py` makes normal numbers of them.
This room imports nothing of tinyddpm.
"""

from .addressed import Stream, bits, integers, normal, uniform

__all__ = ["Stream", "bits", "integers", "normal", "uniform"]
