"""Every bug of mutant_gallery.py and tile_mutants.py is found, by the layers that it names."""

import pytest
from kernel_mutants import ALL, found_by

pytestmark = pytest.mark.gpu_sim


@pytest.mark.parametrize("mutant", ALL, ids=lambda m: f"{m.source}: {m.name}")
def test_a_planted_bug_is_found(mutant):
    assert found_by(mutant) == mutant.layers
