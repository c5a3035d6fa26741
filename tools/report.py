"""Writes a run's report again: python tools/report.py RUN.

RUN is the --output folder of a training that has ended, or that of an evaluation, OUTPUT/evaluation/LIST. The frames of
the worst videos are read from where its config.yaml says the data are; where they are gone, the page is written without
pictures. See docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.datasets.dataset import frames_from
from echoviewclip.evaluation.report import write_report
from echoviewclip.evaluation.worst import FramesOf
from echoviewclip.utils.config import config_from_text
from echoviewclip.utils.errors import UserError, exit_code


def frames_of_run(folder: Path) -> FramesOf:
    """A reader of the videos that a run was evaluated on. Raises UserError where its lists cannot be found."""
    from echoviewclip.trainers.data import evaluation_sets

    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"{path}: no such file, so the videos cannot be found")
    config = config_from_text(path.read_text(encoding="utf-8"))
    return frames_from([part.annotations for part in evaluation_sets(config)], config.DATA.DECODER)


def main() -> int:
    """Parses the command line, writes the report and prints where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", metavar="RUN", type=Path, help="folder with metrics.json and predictions.csv")
    folder = parser.parse_args().run
    try:
        frames = frames_of_run(folder)
    except UserError as error:
        print(f"without pictures: {error}", file=sys.stderr)
        frames = None
    print(write_report(folder, frames))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
