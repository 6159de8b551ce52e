"""Other ways to train than the lecture's θ ← θ − β∇J: optimisers, to compare with it.

Each plugs into `train` as its argument `update`. One that remembers something of the steps before
says so by two methods (`state.py`), and then a run can be stopped and resumed exactly.

    optimisers.py   momentum and Adam
    state.py        what an update remembers, as arrays
"""
