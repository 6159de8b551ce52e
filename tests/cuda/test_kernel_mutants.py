"""Every bug of mutant_gallery.py is found, and by the layers that it names."""

import pytest
from kernel_mutants import found_by
from mutant_gallery import MUTANTS

pytestmark = pytest.mark.gpu_sim


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.source}: {m.name}")
def test_a_planted_bug_is_found(mutant):
    assert found_by(mutant) == mutant.layers
