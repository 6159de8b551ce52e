"""One run on many processes, of one machine or of many, through MPI.

    mpiexec -n 4 tinyddpm train --recipe digits

Each process is called a *rank*. It draws and computes its own part of every mini-batch, with
workers of its own. What comes out is the same to the last bit for any number of ranks and workers,
and the same as without MPI.

    world.py    are there other ranks? What they send each other besides gradients
    ranks.py    `train.gradient` and `UNet.denoise`, computed by all ranks together
    tree.py     the sum of the shards' gradients, in one order whoever computed them

It needs the extra `mpi`. It may import the core, `fast/` and `noise/`; `runs/` imports it.
"""
