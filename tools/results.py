"""Prints the main figures of runs side by side, and where their pages are: python tools/results.py RUN…

A figure that a run does not have is left out. RUN is an --output folder that has been evaluated.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from evaluation.report import HEADLINES
from utils.errors import UserError, exit_code


def lines(folder: Path) -> list[str]:
    """The run's figures as the report's summary has them, with 95 % intervals. Raises UserError."""
    file = folder / "metrics.json"
    if not file.is_file():
        raise UserError(f"{file}: no such file; evaluate the run first (main.py --only_test)")
    summary = json.loads(file.read_text(encoding="utf-8"))
    found = [f"{summary['stage']}: {folder / 'report.html'}"]
    for name, title in HEADLINES:
        name = name.format(score=summary["score"])
        if summary["metrics"].get(name) is not None:
            interval = summary["intervals"].get(name)
            around = f"  [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
            found.append(f"  {title:<28} {summary['metrics'][name]:.3f}{around}")
    return found


def main() -> int:
    """Parses the command line and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="output folders with metrics.json")
    for folder in parser.parse_args().runs:
        print("\n".join(lines(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
