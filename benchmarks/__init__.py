"""What is fast, against what. Needs PyTorch as the peer: `make bench` installs it and runs `step.py` and `sample.py`.

Nothing here is a test: times are ratios measured in one run, on one machine, and say so.
"""
