"""Fixtures that several tests of runs use."""

import os

import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with nothing in it but a pipe."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    return tmp_path
