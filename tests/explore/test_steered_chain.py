"""The chain that can be steered: left alone it is the sampler's, and it goes on from any change."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from tiny_runs import TINY

from tinyddpm.explore.chain import BEST, SAMPLERS, STEPS, Chain, Settings
from tinyddpm.explore.explorer import Explorer
from tinyddpm.runs.chains import default_chain
from tinyddpm.runs.opening import Run


def test_a_chain_begins_with_what_the_sample_command_draws_with():
    """With the 1,000 steps of a shipped model, for on few steps all grids in log-SNR are alike."""
    explorer = Explorer("digits")
    *_, (_, wanted, _) = explorer.run.sample(2, seed=5, **default_chain(1000))
    *_, (t, got, _) = Chain(explorer, 5, n=2).rest(Settings(BEST, STEPS))
    assert t == 0
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_steps_done_and_steps_to_go_are_the_whole(explorer):
    chain, settings = Chain(explorer, 0, n=1), Settings(BEST, 10)
    for _ in chain.rest(settings):
        assert chain.taken + chain.left(settings) == chain.whole(settings) == 10


@pytest.mark.parametrize(
    "sampler, steps, label, w", [("ddim", 10, None, 1.0), ("ddpm", None, 3, 2.0)]
)
def test_a_chain_left_alone_is_that_of_the_sample_command(explorer, sampler, steps, label, w):
    options = {"seed": 5, "label": label, "guidance": w}
    *_, (t, wanted, _) = Run.sample(explorer.run, 4, sampler, steps, **options)
    *_, (s, got, _) = Chain(explorer, 5, n=4).rest(Settings(sampler, steps or 50, label, w))
    assert t == s == 0
    np.testing.assert_allclose(got, wanted, atol=1e-5)


choices = st.builds(
    Settings,
    st.sampled_from(list(SAMPLERS)),
    st.integers(1, TINY["T"]),
    st.none() | st.integers(0, 9),
    st.sampled_from([0.0, 1.0, 2.5]),
)


@settings(max_examples=6)
@given(changes=st.lists(st.tuples(choices, st.integers(1, 4)), max_size=4), last=choices)
def test_whatever_changes_the_chain_falls_to_0_in_as_many_steps_as_it_says(explorer, changes, last):
    chain = Chain(explorer, 0, n=2)
    for change, times in changes:
        t = chain.t
        chain.step(change, times)
        assert chain.t < t or t == 0
    said = chain.left(last)
    before = chain.taken
    taken = list(chain.rest(last))
    assert len(taken) == said == chain.taken - before and chain.t == 0
    assert chain.xt.shape == (2, 1, 8, 8) and chain.xt.dtype == np.float32
    assert np.isfinite(chain.xt).all()


def test_a_change_goes_on_from_the_present_image(explorer):
    """DDIM's first 20 of 40 steps, then another class: DDIM on the rest of the schedule."""
    chain, other = Chain(explorer, 0, n=2), Chain(explorer, 0, n=2)
    chain.step(Settings(steps=40, label=1), 20)
    other.step(Settings(steps=40, label=1), 20)
    np.testing.assert_array_equal(chain.xt, other.xt)
    chain.step(Settings(steps=40, label=2))
    other.step(Settings(steps=40, label=1))
    assert chain.t == other.t == 19
    difference = np.abs(chain.xt - other.xt).max()
    assert 0 < difference < 0.5  # one step's worth


def test_what_a_sampler_refuses_leaves_the_chain_where_it_was(explorer):
    chain = Chain(explorer, 0, n=2)
    chain.step(Settings(steps=20), 3)
    t, xt = chain.t, chain.xt
    for wrong in (Settings("euler", 20), Settings(steps=0), Settings(steps=TINY["T"] + 1)):
        with pytest.raises(ValueError, match="^(sampler|steps): "):
            chain.step(wrong)
        assert chain.t == t and chain.xt is xt
    chain.step(Settings(steps=20))
    assert chain.t < t


def test_a_sampler_that_refuses_at_its_first_step_can_be_tried_again(explorer, monkeypatch):
    def refusing(*arguments, **options):
        yield from ()  # a generator: what it raises, it raises when it is asked for a step
        raise ValueError("zero terminal SNR")

    chain = Chain(explorer, 0, n=2)
    with monkeypatch.context() as patch:
        patch.setitem(SAMPLERS, "heun", refusing)
        for _ in range(2):
            with pytest.raises(ValueError, match="zero terminal SNR"):
                chain.step(Settings("heun", 20))
    chain.step(Settings("heun", 20))
    assert chain.t == 38
