"""What one training step asks of the GPU: kernel launches, matrix products, copies, allocations.

    .venv-gpu-sim/bin/python -m tools.cupy_on_cpu.launches

For the default network (base 16, 8×8 images) and a batch of 4: with the definitions, with
`tinyddpm.fast` as a training run computes it, and with --graph. Copies and launches are the same on
a GPU; times are not, so it shows none.
"""

from collections import Counter

from . import simulator


def of_a_step(fast=False, graph=False):
    """{kind: how often} in the third step of a training run on the GPU, with no new tables.

    With `graph`, the host asks for what is left, and for one graph.
    """
    import numpy as np

    from autograd.backend import to_device
    from tinyddpm import fast as equivalents, schedule, train
    from tinyddpm.nn import UNet

    unet = UNet().initialise(0)
    unet.bind(to_device(unet.theta, "cuda"), to_device(unet.grad, "cuda"))
    images = np.random.default_rng(0).uniform(-1, 1, (20, 1, 8, 8)).astype(np.float32)
    images = to_device(images, "cuda")
    (equivalents.enable if fast else equivalents.disable)()
    gradient = equivalents.on_gpu(unet, unet, graph=graph)[0] if fast else train.gradient
    options = {"seed": 0, "batch_size": 4, "gradient": gradient}
    try:
        steps = train.train(unet, images, schedule.linear(1000), 0.1, **options)
        next(steps), next(steps)
        with simulator.counting() as counts:
            next(steps)
    finally:
        equivalents.disable()
    return counts()


def by_kind(counts):
    """The same with all kernels as one kind."""
    kinds = Counter()
    for what, n in counts.items():
        kinds["kernel" if what.startswith("kernel ") else what] += n
    return dict(kinds)


def launches(counts):
    """How many launches: all but allocations and waiting."""
    return sum(n for what, n in counts.items() if what not in ("allocation", "synchronize"))


def main():
    simulator.start()
    ways = {"definitions": (False, False), "fast": (True, False), "graph": (True, True)}
    for title, how in ways.items():
        counts = of_a_step(*how)
        print(f"{title}: {launches(counts)} launches: {by_kind(counts)}")
        kernels = Counter({k: n for k, n in counts.items() if k.startswith("kernel ")})
        for name, n in kernels.most_common(20):
            print(f"  {n:5d}  {name.removeprefix('kernel ')}")


if __name__ == "__main__":
    main()
