"""One run on many processes, of one machine or of many, through MPI.

    mpiexec -n 4 tinyddpm train …
    mpiexec -n 4 python program.py       # docs/distributed.md has such a program

Each process is called a *rank*. It draws and computes its own part of every mini-batch, with
workers of its own. What comes out is the same to the last bit for any number of ranks and workers,
and the same as without MPI.

    world.py    are there other ranks?
    team.py     what the ranks tell each other, and what becomes of them if one fails
    same.py     do all ranks have the same?
    cut.py      which shards of a mini-batch are a rank's
    ranks.py    `train.gradient` and `UNet.denoise`, computed by all ranks together
    tree.py     the sum of the shards' gradients, in one order whoever computed them
    links.py    how gradients travel: through main memory, or from GPU to GPU
    cards.py    which GPU a rank takes

It needs the extra `mpi`. It may import the core and `fast/`. A run reaches it through a `Comm`
(`alone.py`), and does without it if this folder is gone.
"""
