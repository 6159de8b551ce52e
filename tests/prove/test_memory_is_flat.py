"""A long run takes no more memory than a short one: 5,000 steps, resident memory sampled."""

import json
import subprocess
import sys

import numpy as np
import pytest

STEPS, EVERY = 5000, 20
TRAIN = f"""
import json, resource, sys
from tinyddpm.runs import ema
from tinyddpm.runs.config import Config
from tinyddpm.runs.training import run
from tinyddpm.nn import UNetConfig

pages, before = [], ema.update

def update(average, theta, decay, k):
    before(average, theta, decay, k)
    if k % {EVERY} == 0:
        pages.append(int(open("/proc/self/statm").read().split()[1]))

ema.update = update
config = Config(
    T=50, batch_size=8, beta=0.5, warmup=3, every=250, steps={STEPS}, patience=0, shards=2,
    workers=int(sys.argv[2]), unet=UNetConfig(base=4, groups=2, blocks=1, dropout=0.1),
)
run(config, sys.argv[1])
print(json.dumps([p * resource.getpagesize() for p in pages]))
"""


@pytest.mark.prove
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
@pytest.mark.parametrize("workers", [1, 2])
def test_memory_does_not_grow_with_the_steps(tmp_path, workers):
    """With evaluations and checkpoints."""
    command = [sys.executable, "-c", TRAIN, tmp_path / "x", str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    size = np.array(json.loads(done.stdout.splitlines()[-1])) / 2**20  # MiB
    assert len(size) == STEPS // EVERY
    late = size[len(size) // 5 :]  # caches fill during the first steps
    steps = EVERY * np.arange(len(late))
    slope, level = np.polyfit(steps, late, 1)
    noise = (late - slope * steps - level).std()
    growth = slope * steps[-1]
    print(f"{workers} workers: {level:.1f} MiB, noise {noise:.2f} MiB, {growth:+.2f} MiB in all")
    assert growth < max(2 * noise, 1.0), "a leak of 250 bytes a step would show"
