"""Other updates than θ ← θ − β∇J: measured multipliers, and optimisers to compare with.

Each plugs into `train` as its argument `update`.
"""
