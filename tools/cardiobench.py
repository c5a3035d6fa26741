"""Writes an evaluation as CardioBench reads views: python tools/cardiobench.py RUN DATASET FILE [--map CSV]

RUN is the folder of an evaluation, OUTPUT/evaluation/LIST, on a list of the data set; FILE gets a row a video: what
CardioBench calls it, `view_pred`, and the probability of each of its views. labels/cardiobench.csv says which of our
views is which of its views. See docs/prediction.md.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.evaluation.calibration import at_temperature
from echoviewclip.evaluation.prediction_files import read_predictions
from echoviewclip.evaluation.summary import read_summary
from echoviewclip.utils.errors import UserError, exit_code, quoted
from echoviewclip.utils.files import atomic_path, find_own

VIEWS = ("A2C", "A3C", "A4C", "PSAX", "PLAX", "Other")  # in the order of its columns
DATASETS = {  # the column that names a video, and whether it holds the file's suffix
    "camus": ("unique_id", False),
    "cardiacnet": ("unique_id", False),
    "echonet-dynamic": ("FileName", False),
    "echonet-lvh": ("HashedFileName", False),
    "echonet-pediatric": ("FileName", True),
    "hmcqu": ("unique_id", False),
    "segrwma": ("patient_view_id", False),
    "tmed2": ("query_key", True),
}
MAP = "labels/cardiobench.csv"


def read_map(file: Path, views: Sequence[str]) -> np.ndarray:
    """Which of VIEWS each of our views is, int64 [K]. Raises UserError where the file does not say."""
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = [(row["name"], row["cardiobench"]) for row in csv.DictReader(stream)]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as a table of name,cardiobench ({error})") from None
    known = dict(rows)
    for line, (_, theirs) in enumerate(rows, 2):
        if theirs not in VIEWS:
            raise UserError(f"{file}: line {line}: {quoted(theirs)} is none of {', '.join(VIEWS)}")
    if lacking := [view for view in views if view not in known]:
        raise UserError(f"{file}: does not say what {quoted(lacking[0])} is; add it, or give another file (--map)")
    return np.array([VIEWS.index(known[view]) for view in views])


def regrouped(probabilities: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Probabilities [N, K] of our views → [N, 6] of VIEWS: the sum over those that are the same there."""
    return probabilities @ np.eye(len(VIEWS))[views]


def export(run: Path, dataset: str, file: Path, mapping: Path) -> tuple[int, int]:
    """Writes the file; how many videos are in it, and how many have no answer and are left out. Raises UserError."""
    summary, p = read_summary(run / "metrics.json"), read_predictions(run)
    if not p.probabilities.shape[1]:
        raise UserError(f"{run}: the evaluation has no answers about views; evaluate a checkpoint that has text")
    views = read_map(mapping, summary.classes)
    answered = p.where(~p.failed & (p.prediction >= 0))
    shares = regrouped(at_temperature(answered.probabilities, summary.temperature), views)
    column, with_suffix = DATASETS[dataset]
    names = [PurePosixPath(path).name if with_suffix else PurePosixPath(path).stem for path in answered.path.tolist()]
    if len(set(names)) < len(names):
        raise UserError(f"{run}: videos of the same file name in several folders, which {dataset} cannot tell apart")
    with atomic_path(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([column, "view_pred", *(f"prob_{view}" for view in VIEWS)])
        for name, share in zip(names, shares, strict=True):
            writer.writerow([name, VIEWS[int(share.argmax())], *(f"{value:.8f}" for value in share)])
    return len(answered), len(p) - len(answered)


def main() -> int:
    """Parses the command line, writes the file and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", metavar="RUN", type=Path, help="folder with metrics.json and predictions")
    parser.add_argument("dataset", metavar="DATASET", choices=DATASETS, help=", ".join(DATASETS))
    parser.add_argument("file", metavar="FILE", type=Path, help="CSV to write")
    parser.add_argument("--map", metavar="CSV", type=Path, default=None, help=f"name,cardiobench (default: {MAP})")
    given = parser.parse_args()
    count, without = export(given.run, given.dataset, given.file, given.map or find_own(MAP))
    print(f"{given.file}: {count} videos" + (f", {without} without an answer left out" if without else ""))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
