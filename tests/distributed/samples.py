"""What the tests run under mpiexec, and without it: commands that draw images, and harm to them.

Arguments: a folder, the run, and commands in which {run} stands for it, and {out} for a new name in
the folder. $HARM: a rank, and what happens to it when it denoises for the second time.
"""

import itertools
import os
import sys

from trains import do

from tinyddpm import cli
from tinyddpm.distributed.world import launched_as
from tinyddpm.fast.parallel.part import Part

HARM = "TINYDDPM_TESTS_HARM"


def harmful(denoise, what):
    calls = itertools.count(1)

    def harmed(self, *args, **options):
        if next(calls) == 2:
            do(what, self)
        denoise(self, *args, **options)

    return harmed


def main(folder, run, *commands):
    rank, _, what = os.environ.get(HARM, "").partition(" ")
    if what and int(rank) == launched_as():
        Part.denoise = harmful(Part.denoise, what)
    for i, command in enumerate(commands):
        status = cli.main(command.format(run=run, out=f"{folder}/out{i}").split())
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
