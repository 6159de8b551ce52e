"""The kit never calls what is right wrong: some 120,000 examples over all ops.

pytest -m prove tests/prove/test_false_alarms.py            # ten minutes
SEED=7 pytest -m prove tests/prove/test_false_alarms.py -k conv2d     # other examples
"""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import seed

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / folder) for folder in ("autograd", "fast")]

from image_draws import OPS  # noqa: E402
from op_table import TABLE  # noqa: E402
from test_equivalents import EQUIVALENTS  # noqa: E402

from autograd.testing import gradient_test  # noqa: E402

# name -> (op, what gradient_test takes, how many examples)
SUBJECTS = {op.__name__: (op, how, 3000) for op, how in TABLE.items()}
SUBJECTS |= {f"definition-{name}": (op, {"draw": drawn}, 500) for name, (op, drawn) in OPS.items()}
SUBJECTS |= {
    f"equivalent-{name}": (op, {"draw": drawn, "reference": definition, "analytic": False}, 500)
    for name, (definition, op, drawn) in EQUIVALENTS.items()
}


@pytest.mark.prove
@pytest.mark.parametrize("name", SUBJECTS)
def test_what_is_right_passes(name):
    op, how, examples = SUBJECTS[name]
    seed(int(os.environ.get("SEED", 0)))(gradient_test(op, examples=examples, **how))()
