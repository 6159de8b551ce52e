"""What the tests of schedules share: those with a name, and those with zero terminal SNR."""

from hypothesis import strategies as st
from oracles import schedules

from tinyddpm.more.schedules import SCHEDULES, zero_terminal_snr

makers = st.sampled_from(list(SCHEDULES.values()))
named = st.builds(lambda make, T: make(T), makers, st.integers(1, 64))
several_steps = (schedules | named).filter(lambda s: s.T > 1)
rescaled = several_steps.map(zero_terminal_snr)
