"""From a checkpoint and paths to answers: what each video shows, whether to accept that, how good the video is.

Everything but the videos comes from the checkpoint. Videos are read, sampled, batched and judged by the code that
evaluates, so an answer here is the answer that an evaluation of the same video would count.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from echoviewclip.clip.compiled import compile_blocks
from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.by_path import Group
from echoviewclip.datasets.configured import evaluation_batches, group_reader, reading_processes
from echoviewclip.datasets.intake.pictures import Preparing
from echoviewclip.datasets.intake.preparation import Preparation
from echoviewclip.datasets.reading import reading_faults
from echoviewclip.datasets.remote.downloads import set_downloads
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.datasets.video.arrays import ArraysFirst
from echoviewclip.datasets.video.base import Video
from echoviewclip.datasets.video.open import Opener
from echoviewclip.evaluation.feature_statistics import FeatureStatistics
from echoviewclip.inference.calibration import SETTINGS, Calibration, settle
from echoviewclip.inference.checkpoint import AnyCheckpoint, BareWeights, Checkpoint, read_file
from echoviewclip.inference.collect import Answers, Collector, Watch, collect
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.prediction import PredictionTable, to_table
from echoviewclip.inference.preparation import before_answers, of_checkpoint
from echoviewclip.inference.restore import restore_model
from echoviewclip.inference.resume import configuration_for, with_activation
from echoviewclip.inference.scoring import check_statistics, to_predictions
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.distributed import is_main
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names
from echoviewclip.utils.progress import Progress
from echoviewclip.utils.stopping import Stop

log = logging.getLogger(__name__)

Changes = Sequence[tuple[str, Any]]
NO_ARRAYS: Mapping[str, Video] = MappingProxyType({})


@dataclass(frozen=True)
class Predictor:
    """A checkpoint, ready to answer.

    Attributes:
        config: of its training, with the changes of the command line.
        model: with the parts of its stage, on the CPU, float32.
        views, grades: names by class and by grade.
        calibration: temperature and τ, as far as they were found.
        fitted: where training features lie; None where no score needs it.
        preparation: of the training videos; None where they were not prepared, or the checkpoint does not say.
    """

    config: CfgNode
    model: VideoCLIP
    views: Sequence[str]
    grades: Sequence[str]
    calibration: Calibration
    fitted: FeatureStatistics | None
    preparation: Preparation | None


def load_predictor(file: str | Path, cfg: str | Path | None = None, changes: Changes = ()) -> Predictor:
    """`make_predictor` of the checkpoint in `file`."""
    for key, _ in changes:
        if key in ("TEST.ONLY_TEST", "TEST.FIT_FEATURES"):
            raise UserError(f"{key} changes nothing in predict.py, which reads no lists; leave it out")
    return make_predictor(read_file(file), cfg, changes)


def make_predictor(checkpoint: AnyCheckpoint, cfg: str | Path | None = None, changes: Changes = ()) -> Predictor:
    """The predictor of a checkpoint with settings changed, (key, value) each.

    `cfg` is the yaml file of a checkpoint that carries no configuration. Raises UserError.
    """
    if cfg and isinstance(checkpoint, Checkpoint):
        raise UserError(
            f"{checkpoint.file}: carries its own configuration; leave out -cfg {cfg}, change settings with --opts"
        )
    config = with_activation(configuration_for(checkpoint, cfg, changes), checkpoint)
    if "TRAIN.COMPILE" not in dict(changes):  # worth a minute in a training, not for a few videos
        config.defrost()
        config.TRAIN.COMPILE = False
        config.freeze()
    views, grades = _names_of(checkpoint, config)
    if isinstance(checkpoint, BareWeights):
        checkpoint = checkpoint.renamed(config)
    set_downloads(config.DATA.DOWNLOAD_FOLDER, config.DATA.DOWNLOAD_LIMIT)
    model, _ = restore_model(config, views, checkpoint, answers=True)
    fitted, kept = None, None
    if isinstance(checkpoint, Checkpoint):
        fitted, kept = checkpoint.statistics, checkpoint.calibration
    check_statistics(fitted, model, config.DATA.INPUT_SIZE)
    asked = not {f"TEST.{key}" for key in SETTINGS}.isdisjoint(key for key, _ in changes)
    calibration = settle(kept, config, model.parts, fitted=fitted is not None, anew=False, asked=asked)
    model.eval().requires_grad_(False)
    return Predictor(config, model, views, grades, calibration or Calibration(), fitted, of_checkpoint(checkpoint))


def _names_of(checkpoint: AnyCheckpoint, config: CfgNode) -> tuple[list[str], list[str]]:
    """Names of the views and of the grades; of bare weights those of the configuration's lists."""
    if isinstance(checkpoint, Checkpoint):
        return checkpoint.origin.views, checkpoint.origin.grades
    views = read_names(config.DATA.LABEL_LIST, config.DATA.NUM_CLASSES, "DATA.NUM_CLASSES")
    if config.STAGE != "quality":
        return views, []
    return views, read_names(config.DATA.QUALITY_LIST, config.DATA.NUM_QUALITIES, "DATA.NUM_QUALITIES")


def predict(
    predictor: Predictor,
    videos: Sequence[str],
    device: torch.device,
    *,
    as_is: bool = False,
    arrays: Mapping[str, Video] = NO_ARRAYS,
    watch: Watch | None = None,
    stop: Stop | None = None,
) -> PredictionTable:
    """A row for each video, in order; one that cannot be read has an `error` and no other answers.

    Videos that lie in no prepared folder are prepared in memory as the training videos were, unless `as_is`; the log
    says where pictures are not as in training. `arrays` are those of `videos` that are in memory, by name.
    `watch` is told of this process' batches. Raises Stopped where all processes agree on it (`stop`).

    Moves the model to `device`. Under torchrun each process reads its share, and all get all answers.
    """
    annotations = Annotations.of_paths(videos)
    tell_differences(predictor, videos, as_is, arrays)
    loader = open_videos(predictor, annotations, as_is, arrays)
    model, precision = _ready(predictor, device)
    transform = DeviceTransform(train=False)
    with reading_faults():
        found = collect(model, loader, transform, precision, "predict", stop, fitted=predictor.fitted, watch=watch)
    return _to_table(predictor, annotations, *found)


def predict_groups(
    predictor: Predictor,
    groups: Iterable[tuple[Group, Sequence[str]]],
    device: torch.device,
    progress: Progress,
    *,
    most: int | None = None,
    as_is: bool = False,
    stop: Stop | None = None,
) -> Iterator[tuple[Group, PredictionTable]]:
    """As `predict` of the videos of each group, one group after the other, read by the same processes.

    `groups` are taken a few batches before their turn. `most`: they have no more videos than that together (None: not
    known), so that few are read without reading processes. Videos are counted in `progress`. Reading processes are at
    work between two groups, too: what the caller does belongs into the same `reading_faults`.
    """
    model, precision = _ready(predictor, device)
    config, told = predictor.config, set[Preparation | None]()
    reader = group_reader(config, groups, _opener(predictor, as_is, NO_ARRAYS), _workers(config, most))
    size, batch_size = reader.videos.size, reader.batch_size
    collector = Collector(model, DeviceTransform(train=False), precision, size, batch_size, stop, predictor.fitted)
    for (group, videos), batches in reader:
        tell_differences(predictor, videos, as_is, told=told)
        found = collector.collect(batches, len(videos), progress)
        yield group, _to_table(predictor, Annotations.of_paths(videos), *found)


def _ready(predictor: Predictor, device: torch.device) -> tuple[VideoCLIP, Precision]:
    """The model on a device, and the precision that it answers in there."""
    config, model = predictor.config, predictor.model.to(device)
    if config.TRAIN.COMPILE:
        compile_blocks(model, device)
    return model, Precision(config.TRAIN.OPT_LEVEL, model, device, trains=False)


def _to_table(
    predictor: Predictor,
    annotations: Annotations,
    answers: Answers[np.ndarray],
    faults: dict[str, str],
    warnings: dict[str, str],
) -> PredictionTable:
    predictions = to_predictions(answers, annotations, "in", predictor.config.MODEL.DEFECTS)
    return to_table(predictions, predictor.views, predictor.grades, predictor.calibration, faults, warnings)


def tell_differences(
    predictor: Predictor,
    videos: Sequence[str],
    as_is: bool = False,
    arrays: Mapping[str, Video] = NO_ARRAYS,
    told: set[Preparation | None] | None = None,
) -> None:
    """Logs where the pictures of `videos` will not be as those of the training were.

    `told` is of the parts before (`before_answers`).
    """
    files = [name for name in videos if name not in arrays]
    if is_main() and files:
        for sentence in before_answers(files, predictor.preparation, as_is, told):
            log.warning("%s", sentence)


def open_videos(
    predictor: Predictor, annotations: Annotations, as_is: bool = False, arrays: Mapping[str, Video] = NO_ARRAYS
) -> DataLoader:
    """Batches of videos as the model wants to see them (`predict`); this process' share."""
    config, videos = predictor.config, list(annotations.paths())
    files = any(name not in arrays for name in videos)
    workers = _workers(config, len(videos)) if files else 0
    return evaluation_batches(config, annotations, _opener(predictor, as_is, arrays), workers)


def _workers(config: CfgNode, videos: int | None) -> int:
    """How many processes read so many videos (None: not known, many)."""
    if videos is None:
        return reading_processes(config)
    batches = math.ceil(videos / config.TRAIN.BATCH_SIZE)
    return min(reading_processes(config), batches) if batches > 1 else 0


def _opener(predictor: Predictor, as_is: bool, arrays: Mapping[str, Video]) -> Opener:
    """What opens videos as the model wants to see them."""
    if predictor.preparation and not as_is:
        return Preparing(predictor.preparation, arrays)
    return ArraysFirst(arrays)
