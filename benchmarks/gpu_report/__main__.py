"""Run all stages, one process each, and write the report after every one.

Nothing but the standard library is imported here: see `stages.py`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

from . import page
from .stages import ROOT, STAGES

KEPT = 6000  # characters of what a stage printed that the report keeps, if it did not end well
GRACE = 3  # seconds to end in, once asked


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_report")
    parser.description = "All that this project wants to know of a GPU, in one go."
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder [report]")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all stages together [8]")
    help_stages = "only these; what another run found of the others stays in the report"
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), help=help_stages)
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: does it run at all?")
    options = parser.parse_args(arguments)
    folder = options.out.resolve()
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("gpu_report: ended by SIGTERM"))
    return run(folder, options.stages or list(STAGES), 60 * options.minutes, options.tiny)


def run(folder, chosen, seconds, tiny):
    """The exit status: 0 if every chosen stage came to its end."""
    file, end = folder / "report.json", time.monotonic() + seconds
    found = json.loads(file.read_text("utf-8")) if file.exists() else {"stages": {}}
    found |= {"made": time.strftime("%Y-%m-%d %H:%M %Z"), "tiny": tiny}
    for name in chosen:
        found["stages"].pop(name, None)
    for name in chosen:
        allowed = limit_of(name, chosen, end - time.monotonic())
        print(f"{name:13} {STAGES[name].title} (at most {allowed:.0f} s) … ", end="", flush=True)
        found["stages"][name] = stage = run_stage(name, folder, allowed, tiny)
        print(f"{stage['ended']}, {stage['seconds']:.0f} s", flush=True)
        write(file, json.dumps(found, indent=1, ensure_ascii=False))
        write(folder / "report.md", page_of(found))
        if name == "card" and (missing := no_card(stage)):
            print(f"\n{missing}\nNo other stage can run.", flush=True)
            break
    print(f"\n{folder / 'report.md'}")
    ends = [found["stages"].get(name, {}).get("ended", "") for name in chosen]
    return int(not all(ended.startswith("done") for ended in ends))


def page_of(found):
    """The page, or why there is none: report.json then still has everything."""
    try:
        return page.text(found)
    except Exception:
        why = page.fenced(traceback.format_exc())
        return f"# report.json is whole, but this page failed\n\n{why}\n"


def limit_of(name, chosen, left):
    """Seconds that a stage may take, if so many are left for it and the chosen ones after it."""
    seconds = [STAGES[n].seconds for n in chosen[chosen.index(name) :]]
    return max(1.0, left * seconds[0] / sum(seconds))


def no_card(stage):
    """Why there is no GPU to compute on, or an empty text."""
    return next((row["no card"] for row in stage["rows"] if "no card" in row), "")


def run_stage(name, folder, allowed, tiny):
    """What a stage found: its rows, how it ended, and its output if that was not well."""
    rows, log = folder / "logs" / f"{name}.jsonl", folder / "logs" / f"{name}.log"
    rows.write_text("", "utf-8")
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": python_path()}
    began = time.monotonic()
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command_of(name, folder, allowed, tiny),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # with all that it starts, it can be ended at once
        )
        try:
            ended = how(process.wait(allowed))
        except subprocess.TimeoutExpired:
            ended = f"stopped after {allowed:.0f} s"
        finally:
            end_session(process)
    read = read_rows(rows)
    if ended == "done":
        ended = closer(read)
    printed = log.read_text("utf-8", errors="replace")[-KEPT:]
    printed = "" if ended.startswith("done") else printed
    seconds = round(time.monotonic() - began, 1)
    return {"ended": ended, "seconds": seconds, "rows": read, "printed": printed}


def closer(rows):
    """How a stage ended that came to its end."""
    if any("no card" in row for row in rows):
        return "no card"
    if any("failed" in row for row in rows):
        return "failed in part"
    missing = [row["missing"] for row in rows if "missing" in row]
    return f"done, without {missing[0]}" if missing else "done"


def command_of(name, folder, allowed, tiny):
    command = [sys.executable, "-m", "benchmarks.gpu_report.one_stage", name, str(folder)]
    return [*command, "--seconds", f"{allowed:.1f}", *(["--tiny"] if tiny else [])]


def how(status):
    """An exit status in words."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"failed (exit status {status})" if status else "done"


def end_session(process):
    """End a process and all that it started, if any of it still runs."""
    for how_to_end in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how_to_end)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def read_rows(file):
    """The rows that a stage has written. A process that is killed may leave half a line."""
    rows = []
    for line in file.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def python_path():
    """This checkout first, then what the path was."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def write(file, text):
    """Write a file whole or not at all."""
    beside = file.with_name(f".{file.name}.part")
    beside.write_text(text, "utf-8")
    os.replace(beside, file)


if __name__ == "__main__":
    sys.exit(main())
