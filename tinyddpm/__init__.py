"""tinyddpm: a denoising diffusion probabilistic model from scratch, on NumPy or CuPy alone.

Ho, Jain & Abbeel 2020, "Denoising diffusion probabilistic models".

Read `train.py` first. Every name in it leads one floor down: to `diffusion.py`, `objective.py`,
`schedule.py` and the U-Net in `nn/`, and below them to the automatic differentiation of the package
`autograd`. `sampler.py` makes pictures.
"""

from . import starting

if starting.is_command():
    starting.end_at_ctrl_c()

import autograd

# Another package is also called `autograd`. Installed beside this one, it overwrites or hides ours.
if getattr(autograd, "PART_OF", None) != "tinyddpm":
    raise ImportError(
        "tinyddpm needs its own package 'autograd', but Python found another project's at "
        f"{autograd.__file__}; install tinyddpm into a fresh virtual environment: "
        "python3 -m venv fresh && fresh/bin/pip install FOLDER-OF-ITS-CLONE"
    )

__version__ = "0.1.0"
