"""Every bug in the gallery of kernel_mutants.py is found, and by the layers that it names."""
import pytest
from kernel_mutants import MUTANTS, found_by

pytestmark = pytest.mark.gpu_sim


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.source}: {m.name}")
def test_a_planted_bug_is_found(mutant):
    assert found_by(mutant) == mutant.layers
