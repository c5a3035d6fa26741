"""Compares evaluations of the same videos: python tools/compare.py RUN RUN… [--page FILE]

Prints the main figures side by side with their 95 % intervals, by how much each run differs from the first with the
paired 95 % interval, and in which settings they differ; --page writes the same as one offline page. RUN is the
--output folder of a training, for the evaluation at its end, or that of another evaluation, OUTPUT/evaluation/LIST. See
docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.evaluation.compare import Difference, Run, changed_settings, differences, read_runs
from echoviewclip.evaluation.compare_page import shown_difference, write_comparison
from echoviewclip.evaluation.pages import shown_figure
from echoviewclip.utils.errors import exit_code, shortened

WIDEST = 36  # characters of a setting


def tables(runs: Sequence[Run], found: Sequence[dict[str, Difference]]) -> str:
    """The comparison as text: figures, differences to the first run, settings."""
    names = [run.name for run in runs]
    titles = list(dict.fromkeys(title for run in runs for title in run.titles))
    rows = [[title, *(_figure(run, title) for run in runs)] for title in titles]
    text = _table([f"{len(runs[0].predictions)} videos", *names], rows)
    rows = [[title, *(shown_difference(one.get(title)) for one in found)] for title in titles]
    text += "\n\n" + _table([f"difference to {names[0]}", *names[1:]], rows)
    text += "\n\n* the paired 95 % interval leaves 0 out"
    settings = [
        [key, *(shortened(value, WIDEST) for value in values)] for key, values in changed_settings(runs).items()
    ]
    if settings:
        text += "\n\n" + _table(["settings that differ", *names], settings)
    return text


def _figure(run: Run, title: str) -> str:
    name = run.titles.get(title)
    if name is None:
        return "–"
    interval = run.summary.intervals.get(name)
    around = f" [{shown_figure(interval[0])}, {shown_figure(interval[1])}]" if interval else ""
    return shown_figure(run.summary.metrics[name]) + around


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)


def main() -> int:
    """Parses the command line, compares and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folders with metrics.json and predictions")
    parser.add_argument("--page", metavar="FILE", type=Path, help="write the comparison as a page, too")
    given = parser.parse_args()
    runs = read_runs(given.runs)
    found = [differences(runs[0], run) for run in runs[1:]]
    print(tables(runs, found))
    if given.page:
        print(f"\n{write_comparison(given.page, runs, found)}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
