"""Prints the main figures of runs side by side, and where their pages are: python tools/results.py [--mean] RUN…

With --mean the runs are one experiment with several seeds: the mean of each figure, the least and the most, and the
AUROC of every out-of-distribution score. A figure that a run does not have is left out. RUN is the --output folder of a
training, for the evaluation at its end, or the folder of another evaluation, OUTPUT/evaluation/LIST.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.evaluation.summary import read_summary
from echoviewclip.evaluation.titles import headlines
from echoviewclip.utils.errors import UserError, exit_code


def lines(folder: Path) -> list[str]:
    """The run's figures as the report's summary has them, with 95 % intervals. Raises UserError."""
    summary = read_summary(folder / "metrics.json")
    found = [f"{summary.stage}: {folder / 'report.html'}"]
    for name, title in headlines(summary):
        interval = summary.intervals.get(name)
        around = f"  [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
        around += "  (fitted on these videos)" if name in (summary.fitted or ()) else ""
        found.append(f"  {title:<28} {summary.metrics[name]:.3f}{around}")
    return found


def mean_lines(folders: list[Path]) -> list[str]:
    """Mean, least and most of the runs' figures. Raises UserError where they are not of one stage and score."""
    runs = [read_summary(folder / "metrics.json") for folder in folders]
    if len({(run.stage, run.score) for run in runs}) > 1:
        raise UserError(
            "--mean takes runs of one stage with one score (TEST.SCORE), so that their figures are the same"
        )
    titles = dict(headlines(runs[0]))
    scores = (name for name in runs[0].metrics if re.fullmatch(r"(near|far|ood)/\w+/auroc", name))
    titles |= {name: name.replace("/", " ") for name in scores if name not in titles}
    found = [f"{runs[0].stage}: {len(runs)} runs"]
    for name, title in titles.items():
        values = [run.defined[name] for run in runs if name in run.defined]
        if len(values) == len(runs):
            found.append(f"  {title:<36} {np.mean(values):.3f}  ({min(values):.3f} to {max(values):.3f})")
    return found


def main() -> int:
    """Parses the command line and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mean", action="store_true", help="figures of one experiment over its seeds")
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folders with metrics.json")
    given = parser.parse_args()
    if given.mean:
        print("\n".join(mean_lines(given.runs)))
    else:
        for folder in given.runs:
            print("\n".join(lines(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
