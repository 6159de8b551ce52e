"""How times are taken on a GPU.

A launch returns before the GPU has done it. So there are three times, and all are taken:

    wall_ms(step)     from an idle GPU to an idle GPU, by the clock of the host: what a user waits
    host_ms(step)     how long the host takes to ask for it all, without waiting
    gpu_ms(step)      how long the GPU takes once everything has been asked for, by its own clock

For the last, a kernel first keeps the GPU busy until the host has asked for all of it. Then what
the events enclose has no gaps in which the GPU waits for the host. (Its queue holds about a
thousand launches. Of a longer step the host asks for the rest while the GPU computes.) All are
medians after a warm-up: the first calls compile kernels and fill the memory pool.
"""

import statistics
import time

from autograd import backend

WARM_UP = 3
LONGEST_SPIN = 200.0  # ms
SPIN = r"""
// The second condition ends it if the timer should not tick.
extern "C" __global__ void spin(long long nanoseconds, long long most_cycles) {
    long long begin, now;
    const long long first = clock64();
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
    do asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    while (now - begin < nanoseconds && clock64() - first < most_cycles);
}"""


def synchronise():
    import cupy

    cupy.cuda.runtime.deviceSynchronize()


def wall_ms(call, repeats):
    """Milliseconds from an idle GPU to an idle GPU."""
    return median_ms(call, repeats, wait=synchronise)


def host_ms(call, repeats):
    """Milliseconds until the call returns; the GPU is idle before it."""
    return median_ms(call, repeats, wait=lambda: None)


def median_ms(call, repeats, wait):
    """Median milliseconds of the call and of waiting after it. The GPU is idle before each."""
    times = []
    for i in range(WARM_UP + repeats):
        synchronise()
        began = time.perf_counter()
        call()
        wait()
        if i >= WARM_UP:
            times.append(1000 * (time.perf_counter() - began))
    synchronise()
    return statistics.median(times)


def gpu_ms(call, repeats, calls=1, spin=True):
    """Milliseconds that the GPU is busy with a call, without gaps: the mean of `calls` in a row.

    The call must not wait for the GPU. The simulator cannot spin.
    """
    import cupy

    asking = calls * host_ms(call, 3)
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    times = []
    for _ in range(repeats):
        synchronise()
        if spin:
            keep_busy(min(1.0 + 1.5 * asking, LONGEST_SPIN))
        start.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end) / calls)
    return statistics.median(times)


def keep_busy(milliseconds):
    """Ask the GPU to do nothing for so long. No GPU has more than 4 million cycles a ms."""
    spin = backend.kernel("spin", SPIN)
    spin((1,), (1,), (int(milliseconds * 1e6), int(milliseconds * 4e6)))


def rate(amount, milliseconds, unit):
    """Amount (of bytes, of FLOP) a second, in units of 1e9 or 1e12; 0 where no time passed."""
    return round(amount / (milliseconds * 1e-3) / unit, 3) if milliseconds > 0 else 0.0
