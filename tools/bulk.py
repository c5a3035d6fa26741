"""Kills a bulk prediction at random and checks what it answers: python tools/bulk.py [--rows N] [--kills K] [--seed S].

predict.py answers a list of N rows, which are links to a few made-up videos and a damaged one, by a checkpoint of the
tiny tower: once undisturbed, and once killed K times at random moments (SIGKILL, SIGTERM, of all its processes) and
started again. Then every row must be there once, equal to that of the undisturbed run, or the exit code is 1. Rates of
both, with and without the starts, and the resident memory of every process, sampled once a second, are printed. Linux
only. See docs/cluster.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.tools.benchmarks.bulk_inputs import write_list, write_tiny_checkpoint
from echoviewclip.tools.benchmarks.killed_prediction import Run, Task, draw_kills, find_faults, predict, read_rows
from echoviewclip.tools.benchmarks.memory_over_time import draw
from echoviewclip.tools.benchmarks.result import processor
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.files import write_text

WHOLE, KILLED = "undisturbed", "killed"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line. Raises UserError for a number out of its bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000, metavar="N", help="videos (default: 2000)")
    parser.add_argument("--kills", type=int, default=3, metavar="K", help="default: 3")
    parser.add_argument("--part-size", type=int, default=50, metavar="N", help="videos of a part (default: 50)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="reading processes (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the signals (default: 0)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw memory over time, FILE.png or FILE.svg")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    given = parser.parse_args(arguments)
    for name, least in (("rows", 1), ("kills", 0), ("part_size", 1), ("workers", 0)):
        if getattr(given, name) < least:
            raise UserError(f"--{name.replace('_', '-')} must be at least {least}, found {getattr(given, name)}")
    if given.rows <= given.part_size:
        raise UserError(f"--rows must be more than --part-size ({given.part_size}), found {given.rows}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the list and the checkpoint, predicts twice, compares and sums up."""
    given = parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="bulk-"))
    try:
        task = Task(write_list(folder, given.rows), folder / "tiny.pth", given.rows, given.part_size, given.workers)
        write_tiny_checkpoint(task.checkpoint)
        outputs = {WHOLE: folder / WHOLE, KILLED: folder / KILLED}
        runs = {WHOLE: predict(task, outputs[WHOLE])}
        pause = runs[WHOLE].worked * given.part_size / given.rows
        runs[KILLED] = predict(task, outputs[KILLED], draw_kills(given.kills, given.seed), pause)
        files = [line.rpartition(" ")[0] for line in task.list_file.read_text(encoding="utf-8").splitlines()]
        whole = list(read_rows(outputs[WHOLE]))
        faults = [
            f"{name}: {fault}" for name in runs for fault in find_faults(files, whole, list(read_rows(outputs[name])))
        ]
    except UserError as error:
        raise UserError(f"{error}; kept in {folder}") from None
    print(show(runs, given.rows))
    print("\n".join(faults) or f"{len(files)} rows, each there once and as undisturbed")
    if given.json:
        write_text(given.json, json.dumps(content(given, runs, faults), indent=2) + "\n")
    if given.plot:
        titles = {WHOLE: f"{given.rows} rows, undisturbed", KILLED: f"killed {kills_of(runs[KILLED])} times"}
        moments = {titles[KILLED]: [life.end for life in runs[KILLED].lives if life.kill]}
        draw(given.plot, {titles[name]: run.samples for name, run in runs.items()}, moments)
    if faults:
        print(f"kept in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def show(runs: dict[str, Run], rows: int) -> str:
    """A line for each run and for what its processes held."""
    lines = [f"predict.py, {rows} rows, on {processor()}, {os.cpu_count()} cores", ""]
    each = f"{'rows/s':>9}{'ratio':>7}"
    lines.append(f"{'':14}{'starts':>7}{'s':>9}{each}{'s, no starts':>14}{each}{'CPU s':>9}{'ratio':>7}")
    first = runs[WHOLE]
    for name, run in runs.items():
        times = "".join(
            f"{seconds:>{width}.1f}{rows / seconds:>9.1f}{of / seconds:>7.3f}"
            for seconds, of, width in ((run.seconds, first.seconds, 9), (run.worked, first.worked, 14))
        )
        cpu = f"{run.cpu_worked:>9.1f}{first.cpu_worked / run.cpu_worked:>7.3f}"
        lines.append(f"{name:14}{len(run.lives):>7}{times}{cpu}")
    lines += ["", f"{'':14}{'':20}{'processes':>10}{'MB at most':>12}{'MB a minute, second half':>26}"]
    for name, run in runs.items():
        for held in run.held():
            lines.append(
                f"{name:14}{held.role:20}{held.processes:>10}{held.peak / 1e6:>12.0f}{held.growth / 1e6:>26.2f}"
            )
    kills = [life.kill for life in runs[KILLED].lives if life.kill]
    return "\n".join([*lines, "", f"{len(kills)} kills: {', '.join(kills) or 'none'}"])


def kills_of(run: Run) -> int:
    """How often a run was killed."""
    return sum(bool(life.kill) for life in run.lives)


def content(given: argparse.Namespace, runs: dict[str, Run], faults: Sequence[str]) -> dict[str, object]:
    """What `--json` holds: seconds and memory of each run, kills, faults."""
    return {
        "arguments": {name: str(value) if isinstance(value, Path) else value for name, value in vars(given).items()},
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "faults": list(faults),
        "runs": {
            name: {
                "seconds": run.seconds,
                "seconds_without_starts": run.worked,
                "cpu_seconds_without_starts": run.cpu_worked,
                "kills": [life.kill for life in run.lives if life.kill],
                "memory": [asdict(held) for held in run.held()],
            }
            for name, run in runs.items()
        },
    }


if __name__ == "__main__":
    sys.exit(exit_code(main))
