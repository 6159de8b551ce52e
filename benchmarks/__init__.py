"""How fast we are, and against what.

PyTorch is the peer: `make bench` installs it and runs `step.py`, `sample.py` and `ops.py`.

Nothing here is a test. Times are ratios, measured in one run on one machine.
"""
