"""Other ways to train than the lecture's θ ← θ − β∇J with t drawn uniformly.

Each plugs into `train` as its argument `update` or `gradient`. One that remembers something of the
steps before says so by two methods (`state.py`). Then a run can be stopped and resumed exactly.

    calibration.py  multipliers that are measured while β rises
    optimisers.py   momentum and Adam
    timesteps.py    t drawn where the loss is large: a gradient that `train` takes
    hybrid.py       the bound beside J, for a variance that is learned: another one
    augmenting.py   images flipped or cropped at random: a third one
    state.py        what an update remembers, as arrays
"""
