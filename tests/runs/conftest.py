"""Fixtures that several tests of runs use."""

import dataclasses
import os

import numpy as np
import pytest
from small_runs import LEAST

from tinyddpm import data
from tinyddpm.runs.config import Config
from tinyddpm.runs.training import run


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with nothing in it but a pipe."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    return tmp_path


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """A run of 22 steps on 18 pictures of 4×4, evaluated and saved after every fourth."""
    path = tmp_path_factory.mktemp("data") / "digits.npy"
    np.save(path, data.digits().images[:18, 0, ::2, ::2])
    path.parent.chmod(0o755)
    unet = dataclasses.replace(LEAST, middle_attention=False, dropout=0.1)
    return Config(
        data=str(path),
        T=20,
        batch_size=4,
        beta=0.5,
        warmup=3,
        every=4,
        steps=22,
        patience=0,
        workers=1,
        shards=2,
        unet=unet,
    )


@pytest.fixture(scope="session")
def unbroken(config, tmp_path_factory):
    """The folder of this run, made without a break. Not to be written to."""
    folder = tmp_path_factory.mktemp("unbroken")
    run(config, folder)
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A file of 40 digits."""
    path = tmp_path_factory.mktemp("data") / "digits.npy"
    np.save(path, data.digits().images[:40, 0])
    return str(path)
