"""Every kind of figure, drawn small: a test or a program of its own can draw them all.

python every_figure.py FOLDER
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from autograd import draw, leaf
from tinyddpm import schedule
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.pictures import by_hand
from tinyddpm.pictures.bound_plot import bound_terms
from tinyddpm.pictures.images import forward
from tinyddpm.pictures.plots import loss, loss_by_t
from tinyddpm.pictures.schedule_plot import schedules
from tinyddpm.pictures.unet_walk import unet_walk

S = schedule.linear(8)
NET = UNetConfig(image=(1, 4, 4), base=4, levels=(1,), blocks=1, attention=(), groups=2)


def x(*shape):
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def _loss(path):
    lines = {"mean_J": 0.29, "floor_J": 0.19, "ideal_J": 0.21}
    loss(path, [1, 2, 3], [0.5, 0.3, 0.25], [2, 3], [0.28, 0.24], **lines)


def _loss_by_t(path):
    loss_by_t(path, [(1, 4), (5, 8)], [0.1, 0.2], [0.3, 0.3], [0.05, 0.25])


def _bound(path):
    terms, errors = 0.5 ** np.arange(9), np.full(9, 0.001)
    bound_terms(path, SimpleNamespace(terms=terms, errors=errors, total=terms.sum(), error=0.01))


def _walk(path):
    unet = UNet(NET).initialise(0)
    unet_walk(path, unet, S, x(1, 1, 4, 4), np.array([3]), x(1, 1, 4, 4))


def _by_hand(path):
    chain = {t: x(2, 1, 4, 4) for t in (8, 4, 0)}
    by_hand.draw(path, [0.5, 0.3], [0.4, 0.3], 0.3, chain, x(2, 1, 4, 4))


def _graph(path):
    draw.picture((leaf(np.ones(3)) * 2.0).sum(), path)


FIGURES = {
    "loss": _loss,
    "loss_by_t": _loss_by_t,
    "bound": _bound,
    "walk": _walk,
    "by_hand": _by_hand,
    "graph": _graph,
    "schedules": lambda path: schedules(path, {"linear": S}),
    "forward": lambda path: forward(path, x(1, 4, 4), S, [0, 4, 8], x(1, 4, 4)),
}

if __name__ == "__main__":
    for name, draw_one in FIGURES.items():
        draw_one(Path(sys.argv[1], f"{name}.png"))
