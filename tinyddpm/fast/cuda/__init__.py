"""The same results, sooner, on a GPU: kernels written by hand, each beside a NumPy function that says what it computes.

    norm_silu.py   GroupNorm and SiLU, forward and backward
    columns.py     im2col and its adjoint, for convolution as a matrix product
    add.py         bias, time embedding and residual, added to a convolution's output in one pass
    ops.py         what takes the place of what, and when

Each function f(...) has a twin f_on_gpu(...) with the same arguments, which starts the kernel. Kernels read and write contiguous
float32 arrays; what a function writes to in place it names. Nothing here adds in an order that depends on timing (there are no
atomic operations), so a run repeats bit for bit.

The update of θ and its average have no kernel: they are 5 of a step's 1,600 launches, and θ ← θ − β∇J is to stay a line of `train.py`.
"""
