"""Count what a training step of each case asks of the GPU, and write counts.csv.

    .venv-gpu-sim/bin/python -m benchmarks.gpu_report.count       # ours; after make test-gpu-sim
    .venv/bin/python -m benchmarks.gpu_report.count --peer        # PyTorch's; after make bench

Ours are the kernels, products, copies and memsets that CuPy launches, with the bytes of the arrays
that each is given. PyTorch's are the operations that its dispatcher runs, forward, backward and
update, with the bytes of their tensors. Views launch nothing, and are not counted. Nothing is
computed: the simulated GPU only notes its launches, and PyTorch's tensors have no data.
"""

import argparse
import csv
from collections import Counter

from ..cases import CASES, Case
from .model import COLUMNS, COUNTS, OURS, PEER, Launch, table

# Of kernels that multiply matrices: their FLOP, from their arguments (`fast/cuda/`).
FLOP = {
    "convolve": lambda x, w, y, *_: 2 * y.size * w.size // w.shape[3],
    "convolve_turned": lambda g, w, gx, *_: 2 * gx.size * w.size // w.shape[2],
    "convolve_weight": lambda x, g, parts, gw, *_: 2 * g.size * (len(gw) - 1),
    "product": lambda a, b, c, *_: 2 * c.size * a.shape[-1],
}


def ours(name):
    """The launches of a step, as a training run computes it. The simulator must be running."""
    from tools.cupy_on_cpu import simulator

    from .speed import on_gpu, training_step

    with training_step(on_gpu(name)) as one_step:
        with simulator.recording():
            one_step()  # the first one makes tables
        with simulator.recording(FLOP) as notes:
            one_step()
    return grouped(notes())


NO_LAUNCH = ("aten.detach.default", "aten._unsafe_view.default")


def peers(name):
    """The operations of PyTorch's step: eager, float32, one memory format."""
    import torch
    from torch.nn import functional as F

    net, x0, xt, t = (part.to("meta") for part in Case(name).peers()["PyTorch eager"])
    sgd = torch.optim.SGD(net.parameters(), lr=1e-6, foreach=True)
    with dispatched() as notes:
        F.mse_loss(net(xt, t), x0).backward()
        sgd.step()
    return grouped(notes)


def dispatched():
    """A context that yields the list of operations that PyTorch runs within it."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_flatten
    from torch.utils.flop_counter import flop_registry

    class Dispatched(TorchDispatchMode):
        def __enter__(self):
            super().__enter__()
            self.notes = []
            return self.notes

        def __torch_dispatch__(self, op, types, args=(), options=None):
            out = op(*args, **(options or {}))
            if not op.is_view and str(op).startswith("aten.") and str(op) not in NO_LAUNCH:
                tensors = [x for x in tree_flatten((args, options, out))[0] if hasattr(x, "nbytes")]
                count = flop_registry.get(op.overloadpacket)
                flop = count(*args, **(options or {}), out_val=out) if count else 0
                self.notes.append((str(op), sum(x.nbytes for x in tensors), float(flop)))
            return out

    return Dispatched()


def grouped(notes):
    """[(what, bytes, FLOP), …] as Launches: equal ones are one, in the order of first use."""
    return [Launch(what, n, size, flop) for (what, size, flop), n in Counter(notes).items()]


def write(counted):
    """Write {(case, who): [Launch, …]}, and what is known already of others."""
    kept = dict(table()) if COUNTS.exists() else {}
    kept |= counted
    with COUNTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for who in (OURS, PEER):
            for case in CASES:
                for what, n, size, flop in kept.get((case, who), []):
                    writer.writerow((case, who, what, n, size, f"{flop:.0f}"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", action="store_true", help="PyTorch's, and leave ours as they are")
    who, count = (PEER, peers) if parser.parse_args().peer else (OURS, ours)
    if who == OURS:
        from tools.cupy_on_cpu import simulator

        simulator.start()
    counted = {(name, who): count(name) for name in CASES}
    write(counted)
    for (name, _), launches in counted.items():
        print(f"{name}: {sum(launch.n for launch in launches):,} launches")


if __name__ == "__main__":
    main()
