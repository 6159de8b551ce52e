"""Other ways to train than the lecture's θ ← θ − β∇J: optimisers, to compare with it.

Each plugs into `train` as its argument `update`.
"""
