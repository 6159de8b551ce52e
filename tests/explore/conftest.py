"""What the tests of this folder share."""

import pytest
from tiny_runs import DIGITS, a_run

from tinyddpm.explore.explorer import Explorer


@pytest.fixture(scope="session")
def explorer(tmp_path_factory):
    """Of a run with classes."""
    folder = tmp_path_factory.mktemp("runs") / "classes"
    return Explorer(a_run(folder, names=DIGITS, data="digits"))
