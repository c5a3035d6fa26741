"""Finds wrong labels: python tools/check_labels.py RUN [--most N], then … RUN --apply [corrections.csv].

RUN is the output folder of stage view. Lists the training videos whose label the model most confidently contradicts,
judged by models that did not see them: those of the folds where tools/run.py --folds has run, else a cross-validated
linear probe. Writes RUN/labels/index.html to decide from, and corrections.csv; with --apply, the corrected list beside
the training list. See docs/data.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.experiment.corrections import apply_corrections, write_corrections
from echoviewclip.experiment.noise import contradicted, judge
from echoviewclip.experiment.noise_page import write_noise_page
from echoviewclip.utils.config import config_from_text
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.label_list import read_names


def main() -> int:
    """Parses the command line; checks, or applies the decisions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", metavar="RUN", type=Path, help="output folder of stage view")
    parser.add_argument("--most", type=int, default=200, metavar="N", help="videos to list (default: 200)")
    parser.add_argument("--apply", nargs="?", const="", metavar="CSV", help="default: RUN/labels/corrections.csv")
    a = parser.parse_args()
    table = a.run / "labels/corrections.csv"
    if a.apply is not None:
        return apply(a.run, Path(a.apply) if a.apply else table)
    judged = judge(a.run)
    suspects = contradicted(judged.probabilities, judged.videos.labels)
    shown = suspects[: a.most]
    write_corrections(table, judged, shown)
    write_noise_page(table.with_name("index.html"), judged, shown)
    print(f"{len(suspects)} of {len(judged.videos)} labels are contradicted by {judged.how}")
    print(f"{table.with_name('index.html')}\n{table}")
    return 0


def apply(run: Path, table: Path) -> int:
    """Writes the corrected list and says how to train on it."""
    file = run / "config.yaml"
    if not file.is_file():
        raise UserError(f"{file}: no such file; RUN is the output folder of stage view")
    data = config_from_text(file.read_text(encoding="utf-8")).DATA
    target, counts = apply_corrections(table, data.TRAIN_FILE, data.ROOT, read_names(data.LABEL_LIST))
    print(", ".join(f"{name or 'undecided'} {count}" for name, count in counts.most_common()))
    print(f"{target}\nto train on it: DATA.TRAIN_FILE {target.name}, and another OUTPUT")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
