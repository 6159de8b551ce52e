"""Answers the questions of docs/sgd.md, each by a set of rows of `study.py`.

    python -m benchmarks.questions a             # makes the runs, on all cores; prints the tables
    python -m benchmarks.questions a --tables    # prints the tables of what is there
    python -m benchmarks.questions --picture     # draws docs/sgd.png

It makes only the runs that docs/study.csv does not have yet. You can stop it and start it again: it
writes down each run when it is finished.
"""

import argparse
import dataclasses
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed

from threadpoolctl import threadpool_limits

from tinyddpm.fast.parallel import cores

from . import results
from .results import keep, read
from .rows import STAGES
from .study import Row, run
from .study_pictures import draw_families
from .tables import tables


def make(rows, processes):
    """Make the runs that were not made yet, `processes` at a time."""
    kept = read(results.RESULTS)
    missing = list({str(row): row for row in rows if str(row) not in kept}.values())
    if not missing:
        return
    spawn = multiprocessing.get_context("spawn")
    one_thread = {"initializer": threadpool_limits, "initargs": (1,)}
    with ProcessPoolExecutor(processes, spawn, **one_thread) as pool:
        # First the runs that measure curvature, so that no two runs measure the same.
        plain = {dataclasses.replace(row, optimiser="sgd", beta=1.0) for row in missing}
        list(pool.map(Row.before, plain))
        waiting = {pool.submit(run, row): row for row in missing}
        try:
            for n, done in enumerate(as_completed(waiting), 1):
                keep(waiting[done], done.result())
                print(f"{n}/{len(missing)}  {waiting[done]}  {done.result()}", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or an error would show only after the last run
            raise


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", nargs="*", metavar="a|b|c|d|e|f")
    parser.add_argument("--processes", type=int, default=cores())
    parser.add_argument("--tables", action="store_true", help="only print tables")
    parser.add_argument("--picture", action="store_true", help="only draw the picture")
    options = parser.parse_args()
    if unknown := set(options.questions) - set(STAGES):
        got = ", ".join(sorted(unknown))
        parser.error(f"questions: expected some of a, b, c, d, e and f, got {got}")
    if options.picture:
        draw_families(results.RESULTS.parent / "sgd.png", read(results.RESULTS))
    for question in options.questions:
        if not options.tables:
            for stage in STAGES[question]:
                make(stage(read(results.RESULTS)), options.processes)
        for text in tables(question, read(results.RESULTS)):
            print(text)


if __name__ == "__main__":
    main()
