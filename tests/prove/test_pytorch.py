"""Our U-Net is PyTorch's U-Net: one J and one gradient for every parameter, on all timed networks.

Needs the extra `bench`: `make prove` installs it.
"""

import pytest

pytestmark = pytest.mark.prove
CASES = ("base 32, 32×32", "base 64, 32×32", "base 32, 28×28", "base 32, 8×8", "make train")


@pytest.mark.parametrize("quick", [False, True], ids=["definitions", "fast"])
@pytest.mark.parametrize("name", CASES)
def test_J_and_every_gradient_are_those_of_pytorch(name, quick):
    from benchmarks import cases, peer, step
    from tinyddpm import fast
    from tinyddpm.train import gradient

    assert set(CASES) == set(cases.CASES)
    case = cases.Case(name, batch=4)
    if quick:
        fast.enable()
    try:
        for parts in case.peers().values():
            our_J, their_J = step.ours(case, gradient)[0], step.theirs(*parts)[0]
            assert peer.difference(case.unet, parts[0], our_J, their_J) < 1e-4
    finally:
        fast.disable()
