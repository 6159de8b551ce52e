"""no_grad records nothing, and threads do not disturb each other."""

import threading

import numpy as np
import pytest

from autograd import leaf, no_grad


def test_no_grad_records_nothing():
    a = leaf(np.ones(2))
    with no_grad():
        assert (a * a).node is None
        with no_grad():
            assert (a * a).node is None
        assert (a * a).node is None  # the inner one's end is not the outer one's
    assert (a * a).node.op == "mul"
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (a * a).node is not None


def test_no_grad_is_per_thread():
    a, seen = leaf(np.ones(2)), []
    entered, checked = threading.Event(), threading.Event()

    def other():
        with no_grad():
            entered.set()
            checked.wait(10)
            seen.append((a * a).node)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(10)
    seen.append((a * a).node)
    checked.set()
    thread.join()
    assert seen[0] is not None and seen[1] is None


def test_threads_share_leaves_but_not_gradients_in_flight():
    """Two graphs over one leaf's data, differentiated at once, each into its own grad."""
    data = np.arange(4.0)
    results = [None] * 4

    def work(k):
        x = leaf(data)
        for _ in range(50):
            (x * x * float(k)).sum().backward()
        results[k] = x.grad

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, grad in enumerate(results):
        assert grad.tolist() == (50 * 2 * k * data).tolist()
