"""The same results, sooner, on a GPU: kernels written by hand, each beside its NumPy twin.

    norm_silu.py        GroupNorm and SiLU, forward and backward
    norm_sums.py        the sums that both need
    convolution.py      convolution by tensor cores, for compute capability 8.0 and up
    weight_gradient.py  its gradients of weight and bias
    product.py          products of a stack of matrices by tensor cores
    matrix_tiles.py     the product of two tiles, which these three are made of
    ptx.py              the instructions that CUDA C++ has no words for
    columns.py          im2col and its adjoint: convolution on older cards, by cuBLAS
    add.py              there: what is added to the output, in one pass
    attention.py        attention, with its softmax in one kernel
    parameters.py       c·θ at once, and gradients added to ∇J a few dozen at a time
    graph.py            the gradient as a CUDA graph
    ops.py              what takes the place of what, and when

Each function f(...) says what is computed. Its twin f_on_gpu(...) has the same arguments and starts
the kernel. Kernels read and write contiguous float32 arrays; each function names what it writes to
in place. Nothing here adds in an order that depends on timing (the one atomic operation counts who
has finished), so a run repeats bit for bit.

The update of θ and its EMA have no kernel: they are 5 of a step's launches (docs/gpu.md), and
θ ← θ − β∇J is to stay a line of `train.py`.
"""
