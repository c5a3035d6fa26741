"""Writes a run's report again: python tools/report.py RUN [--explain].

RUN is the --output folder of a training that has ended, or that of an evaluation, OUTPUT/evaluation/LIST. The frames of
the worst videos are read from where its config.yaml says the data are; where they are gone, the page is written without
pictures. With --explain, and of an evaluation that had it, the checkpoint says what spoke for and against the views of
these videos. See docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from yacs.config import CfgNode

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.dataset import frames_from
from echoviewclip.evaluation.overlays import Why
from echoviewclip.evaluation.prediction_files import read_predictions
from echoviewclip.evaluation.report import write_report
from echoviewclip.evaluation.summary import read_summary
from echoviewclip.evaluation.worst import UNEXPLAINED, telling_videos
from echoviewclip.utils.config import config_from_text
from echoviewclip.utils.errors import UserError, exit_code


def configuration_of(folder: Path) -> CfgNode:
    """The configuration of a run. Raises UserError where it is not there."""
    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"{path}: no such file, so the videos cannot be found")
    return config_from_text(path.read_text(encoding="utf-8"))


def lists_of_run(config: CfgNode) -> list[Annotations]:
    """The lists that a run was evaluated on. Raises UserError where they cannot be found."""
    from echoviewclip.trainers.data import evaluation_sets

    return [part.annotations for part in evaluation_sets(config)]


def explain_run(folder: Path, config: CfgNode, lists: list[Annotations]) -> Mapping[str, Why]:
    """Why the checkpoint of an evaluation decided as it did about the worst videos. Raises UserError."""
    from echoviewclip.inference.precision import Precision
    from echoviewclip.inference.restore import restore_model
    from echoviewclip.inference.resume import read_checkpoint, with_activation
    from echoviewclip.trainers.explained import explain_videos
    from echoviewclip.utils.distributed import processes
    from echoviewclip.utils.label_list import read_names

    if not config.TEST.ONLY_TEST:
        raise UserError(f"{folder}: is of a training, which explains nothing; evaluate: main.py --only_test --explain")
    telling = telling_videos(read_predictions(folder), read_summary(folder / "metrics.json"))
    views = read_names(config.DATA.LABEL_LIST, config.DATA.NUM_CLASSES, "DATA.NUM_CLASSES")
    grades = read_names(config.DATA.QUALITY_LIST, config.DATA.NUM_QUALITIES, "DATA.NUM_QUALITIES")
    checkpoint = read_checkpoint(config, views, grades)
    model, _ = restore_model(with_activation(config, checkpoint), views, checkpoint, answers=True)
    with processes(config.DEVICE, config.TRAIN.TIMEOUT) as device:
        precision = Precision(config.TRAIN.OPT_LEVEL, model.to(device).requires_grad_(False), device, trains=False)
        return explain_videos(config, model, precision, lists, telling)


def main() -> int:
    """Parses the command line, writes the report and prints where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", metavar="RUN", type=Path, help="folder with metrics.json and predictions")
    parser.add_argument("--explain", action="store_true", help="show what spoke for and against a view")
    given = parser.parse_args()
    frames, why = None, UNEXPLAINED
    try:
        config = configuration_of(given.run)
        lists = lists_of_run(config)
        frames = frames_from(lists, config.DATA.DECODER)
        if given.explain or config.TEST.EXPLAIN:
            why = explain_run(given.run, config, lists)
    except UserError as error:
        if given.explain:
            raise
        print(f"without {'maps' if frames else 'pictures'}: {error}", file=sys.stderr)
    print(write_report(given.run, frames, why))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
