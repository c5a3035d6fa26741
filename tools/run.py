"""Runs an experiment: python tools/run.py CONFIGS [--folds 5 [--fold K]] [--opts KEY VALUE …].

Trains the stages whose files are in CONFIGS (view.yaml, negation.yaml, quality.yaml) in order, evaluates the best
checkpoint of each on the test list, and writes index.html with all figures. What is finished is left alone, so that
the same command goes on after an interruption. With --folds the stages are trained once for each part of the
patients, which is held out. See docs/first_run.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.experiment.chain import run_steps
from echoviewclip.experiment.folds import found_folds, write_folds
from echoviewclip.experiment.page import write_page
from echoviewclip.experiment.steps import all_steps, experiment_folder, stage_files, steps_of_fold
from echoviewclip.utils.config import load_config
from echoviewclip.utils.errors import UserError, exit_code


def main() -> int:
    """Parses the command line, runs and says where the page is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", metavar="CONFIGS", type=Path, help="folder of the stages' files (tools/new.py)")
    parser.add_argument("--folds", type=int, metavar="N", help="cross-validation by patient in N parts")
    parser.add_argument("--fold", type=int, metavar="K", help="only this part, from 1 (default: all in order)")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="any settings, in pairs")
    a = parser.parse_args()
    if len(a.opts) % 2:
        raise UserError(f"--opts takes pairs of KEY VALUE; {a.opts[-1]!r} stands alone")
    if a.fold and not (a.folds and 1 <= a.fold <= a.folds):
        raise UserError(f"--fold K takes a part from 1 to N of --folds N, found {a.fold}")
    options = list(zip(a.opts[::2], a.opts[1::2], strict=True))
    output = experiment_folder(a.configs, options)
    steps = all_steps(a.configs, options)
    if a.folds:
        configs = [load_config(file, options) for file in stage_files(a.configs).values()]
        folds = write_folds(configs, output, a.folds)
        chosen = [folds[a.fold - 1]] if a.fold else folds
        todo = [step for fold in chosen for step in steps_of_fold(a.configs, options, fold)]
    else:
        todo = steps
    try:
        code = run_steps(todo, lambda line: print(f"\n{line}", flush=True))
    finally:
        print(f"\n{write_page(a.configs, output, steps, found_folds(output))}")
    return code


if __name__ == "__main__":
    sys.exit(exit_code(main))
