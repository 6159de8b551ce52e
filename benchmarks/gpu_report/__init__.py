"""One command for the day a card is there: all that this project wants to know of a GPU.

    python -m benchmarks.gpu_report --out report     # or make gpu-report

It needs CuPy and a card, no network and no make, and takes eight minutes at most. It runs stages,
each in a process of its own with a time limit. So none can take another with it: a crash, a stage
that hangs, or a package that is missing costs one stage. After every stage `report/report.md` and
`report/report.json` are written again.

    stages.py    the stages and what each may take of the time
    __main__.py  runs them
    one_stage.py the process of one stage: gives the numbers to the one above, row by row
    correct.py   stages that look whether the results are right: tests, gradients, two recipes
    card.py      the stage that says what the card is, and what it can do at most
    speed.py     stages that take times: of training steps, kernels and convolutions
    peer.py      stages that take PyTorch's times, and the one for sampling
    clock.py     how times are taken on a GPU
    model.py     the model on paper: the time that counted launches, bytes and FLOP should take
    count.py     counts them, on a CPU, and writes counts.csv
    page.py      report.md
"""
