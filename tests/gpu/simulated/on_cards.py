"""What the tests run on several ranks, each with a simulated GPU, and on one without MPI.

on_cards.py train      short trainings; prints a line of JSON for each rank
on_cards.py command …  `tinyddpm …`
on_cards.py differ …   the same, but θ of rank 1 becomes another one in step 3

"nccl" as a further argument of `train` puts a stand-in in NCCL's place.
"""

import ctypes
import hashlib
import json
import sys
from types import SimpleNamespace

from tools.cupy_on_cpu import simulator

simulator.start()

import numpy as np  # noqa: E402

from autograd import gpus  # noqa: E402
from autograd.backend import to_device, to_numpy  # noqa: E402
from tinyddpm import noise  # noqa: E402
from tinyddpm.alone import Alone  # noqa: E402
from tinyddpm.distributed.world import world  # noqa: E402
from tinyddpm.more.classes import ClassConfig, ClassUNet, dropped  # noqa: E402
from tinyddpm.nn import UNet, UNetConfig  # noqa: E402
from tinyddpm.runs import ema  # noqa: E402
from tinyddpm.runs.computing import computing  # noqa: E402
from tinyddpm.schedule import linear  # noqa: E402
from tinyddpm.train import train  # noqa: E402

IMAGE, SHARDS, STEPS = (1, 4, 4), 4, 3
SMALL = {"image": IMAGE, "base": 4, "levels": (1,), "blocks": 1, "attention": (), "groups": 2}
# batch size, U-Net's options
CASES = {
    "plain": (8, {}),
    "uneven": (7, {}),  # shards of one and of two images
    "three shards": (3, {}),  # the first rank has one of them
    "dropout": (8, {"dropout": 0.2}),
    "classes": (8, {"classes": 3}),
}


class StandIn:
    """NCCL's communicator as CuPy has it: what it is given are addresses. MPI carries it."""

    def __init__(self, ndev, commId, rank):
        from mpi4py import MPI

        assert commId == b"name" and (ndev, rank) == (MPI.COMM_WORLD.size, MPI.COMM_WORLD.rank)
        self.mpi = MPI.COMM_WORLD.Dup()

    def send(self, sendbuf, count, datatype, peer, stream):
        self.mpi.Send(self._at(sendbuf, count, datatype), peer)

    def recv(self, recvbuf, count, datatype, peer, stream):
        self.mpi.Recv(self._at(recvbuf, count, datatype), peer)

    def bcast(self, buff, count, datatype, root, stream):
        self.mpi.Bcast(self._at(buff, count, datatype), root)

    def _at(self, address, count, datatype):
        assert datatype == 7  # NCCL_FLOAT32
        return (ctypes.c_float * count).from_address(address)


NCCL = SimpleNamespace(
    available=True,
    NCCL_FLOAT32=7,
    NCCL_FLOAT64=8,
    get_unique_id=lambda: b"name",
    NcclCommunicator=StandIn,
)


def trained(comm, device, batch_size, options):
    """The hash of θ, every J and some denoised images; and what was copied in the last step."""
    images = to_device(noise.uniform(0, "images", 0, np.arange(20), IMAGE) * 2 - 1, device)
    schedule = linear(1000)
    kind = (ClassUNet, ClassConfig) if "classes" in options else (UNet, UNetConfig)
    unet, ema = (kind[0](kind[1](**SMALL | options)).initialise(seed) for seed in (0, 1))
    for net in (unet, ema):
        net.bind(to_device(net.theta, device), to_device(net.grad, device))
    samples = comm.samples(batch_size, SHARDS)
    cond, first = None, samples.start or 0
    if "classes" in options:
        cond = dropped(to_device(np.arange(20) % 3, device), 3, 0.3, seed=0, first=first)
    found = hashlib.sha256()
    how = {"comm": comm, "batch_size": batch_size, "gpu_shards": SHARDS}
    with computing(unet, ema, schedule, device, **how) as (gradient, denoise):
        settings = {"seed": 0, "batch_size": batch_size, "cond": cond, "samples": samples}
        steps = train(unet, images, schedule, 0.1, gradient=gradient, **settings)
        for _ in range(STEPS):
            with simulator.counting() as counts:
                step = next(steps)
            found.update(np.float64(step.J))
        for n in (1, 9):
            xt = noise.normal(0, "xt", 0, np.arange(n), IMAGE)
            given = () if cond is None else (np.arange(n) % 3,)
            on_host = denoise(xt, np.full(n, 500), *given)
            on_card = denoise(*(to_device(a, device) for a in (xt, np.full(n, 500), *given)))
            assert type(on_host) is np.ndarray and (to_numpy(on_card) == on_host).all()
            found.update(on_host)
    found.update(to_numpy(unet.theta))
    copies = {what: n for what, n in counts().items() if "host" in what}
    return found.hexdigest()[:12], copies


def differing(update):
    def update_and_differ(ema_theta, theta, decay, step):
        update(ema_theta, theta, decay, step)
        if step == 3 and theta.device.id == 1:
            theta[5] += 1

    return update_and_differ


def main(what, *arguments):
    if "nccl" in arguments:
        gpus.nccl = lambda: NCCL
    if what != "train":
        from tinyddpm import cli

        if what == "differ":
            ema.update = differing(ema.update)
        sys.exit(cli.main(list(arguments)))
    comm = world() or Alone()
    device = comm.device("cuda")
    cases = {name: trained(comm, device, *case) for name, case in CASES.items()}
    line = json.dumps({"rank": comm.rank, "device": device, "cases": cases})
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
