"""Prints the main figures of runs side by side, and where their pages are: python tools/results.py [--mean] RUN…

With --mean the runs are one experiment with several seeds: the mean of each figure, the least and the most, and the
AUROC of every out-of-distribution score. A figure that a run does not have is left out. RUN is the --output folder of a
training, for the evaluation at its end, or the folder of another evaluation, OUTPUT/evaluation/LIST.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.evaluation import report
from echoviewclip.utils.errors import UserError, exit_code


def read(folder: Path) -> dict[str, Any]:
    """The run's metrics.json. Raises UserError."""
    file = folder / "metrics.json"
    if not file.is_file():
        raise UserError(
            f"{file}: no such file; evaluate the run first (main.py --only_test), and name the folder of that "
            "evaluation (RUN/evaluation/LIST)"
        )
    return json.loads(file.read_text(encoding="utf-8"))


def lines(folder: Path) -> list[str]:
    """The run's figures as the report's summary has them, with 95 % intervals. Raises UserError."""
    summary = read(folder)
    found = [f"{summary['stage']}: {folder / 'report.html'}"]
    for name, title in headlines(summary):
        interval = summary["intervals"].get(name)
        around = f"  [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
        around += "  (fitted on these videos)" if name in (summary.get("fitted") or ()) else ""
        found.append(f"  {title:<28} {summary['metrics'][name]:.3f}{around}")
    return found


def mean_lines(folders: list[Path]) -> list[str]:
    """Mean, least and most of the runs' figures. Raises UserError where they are not of one stage and score."""
    runs = [read(folder) for folder in folders]
    if len({(run["stage"], run["score"]) for run in runs}) > 1:
        raise UserError(
            "--mean takes runs of one stage with one score (TEST.SCORE), so that their figures are the same"
        )
    titles = dict(headlines(runs[0]))
    scores = (name for name in runs[0]["metrics"] if re.fullmatch(r"(near|far|ood)/\w+/auroc", name))
    titles |= {name: name.replace("/", " ") for name in scores if name not in titles}
    found = [f"{runs[0]['stage']}: {len(runs)} runs"]
    for name, title in titles.items():
        values = [run["metrics"].get(name) for run in runs]
        if None not in values:
            found.append(f"  {title:<36} {np.mean(values):.3f}  ({min(values):.3f} to {max(values):.3f})")
    return found


def headlines(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and titles of the main figures that a run has and that are defined."""
    return [(name, title) for name, title in report.headlines(summary) if summary["metrics"][name] is not None]


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
