"""The data that a configuration names: lists read as its stage means them, data sets, batches."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from echoviewclip.datasets.annotations import Annotations, read_annotations
from echoviewclip.datasets.by_path import Group, GroupReader
from echoviewclip.datasets.dataset import VideoDataset
from echoviewclip.datasets.loader import TrainingData, evaluation_loader
from echoviewclip.datasets.remote.downloads import set_downloads
from echoviewclip.datasets.shard_order import count_shards
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.datasets.video.open import Opener
from echoviewclip.utils.cores import usable_cores
from echoviewclip.utils.distributed import rank, world
from echoviewclip.utils.label_list import read_names
from echoviewclip.utils.ranks import processes_here

log = logging.getLogger(__name__)


def read_list(
    config: CfgNode, file: str, *, outsiders: bool = False, evaluated: bool = False, faults: list[str] | None = None
) -> Annotations:
    """A list of videos with the targets of the configuration's stage; `outsiders` need no labels, and any will do.

    Lists that are `evaluated` have the columns of TEST.GROUPS.
    Faulty lines raise UserError, or go to `faults` as in `read_annotations`.
    """
    data = config.DATA
    set_downloads(data.DOWNLOAD_FOLDER, data.DOWNLOAD_LIMIT)
    quality = config.STAGE == "quality" and not outsiders
    score = quality and data.QUALITY_TARGET == "score"
    return read_annotations(
        file,
        data.ROOT,
        label_names=class_names(config) if not outsiders else read_names(data.LABEL_LIST),
        view_names=read_names(data.LABEL_LIST) if quality else (),
        target="score" if score else "quality" if quality else "class",
        any_label=outsiders,
        allow_outside=data.ALLOW_OUTSIDE,
        groups=config.TEST.GROUPS if evaluated else (),
        defects=config.MODEL.DEFECTS if quality else (),
        faults=faults,
    )


def class_names(config: CfgNode) -> list[str]:
    """Names of what the stage tells apart: views, or grades in stage quality. Raises UserError."""
    data = config.DATA
    if config.STAGE == "quality":
        return read_names(data.QUALITY_LIST, data.NUM_QUALITIES, "DATA.NUM_QUALITIES")
    return read_names(data.LABEL_LIST, data.NUM_CLASSES, "DATA.NUM_CLASSES")


def evaluation_views(config: CfgNode) -> tuple[int, int]:
    """Temporal clips of a video and crops of a clip that an evaluation looks at."""
    test = config.TEST
    return (
        (4, 3) if test.MULTI_VIEW_INFERENCE and test.NUM_CLIP == test.NUM_CROP == 1 else (test.NUM_CLIP, test.NUM_CROP)
    )


def video_dataset(config: CfgNode, annotations: Annotations, train: bool, opener: Opener | None = None) -> VideoDataset:
    """The videos of a list, opened by `opener`, sampled and cropped as the configuration says."""
    clips, crops = evaluation_views(config)
    set_downloads(config.DATA.DOWNLOAD_FOLDER, config.DATA.DOWNLOAD_LIMIT)
    return VideoDataset(
        annotations,
        frames=config.DATA.NUM_FRAMES,
        size=config.DATA.INPUT_SIZE,
        train=train,
        seed=config.SEED,
        decoder=config.DATA.DECODER,
        sampling=config.DATA.SAMPLING,
        stride_seconds=config.DATA.STRIDE_SECONDS,
        scales=config.AUG.SCALES,
        background_swap=config.AUG.BACKGROUND_SWAP,
        clips=clips,
        crops=crops,
        resize_on_device=config.DATA.RESIZE == "device",
        finds_black=config.MODEL.DROP_BLACK,
        seconds=config.DATA.TIMEOUT,
        opener=opener,
    )


def reading_processes(config: CfgNode) -> int:
    """DATA.NUM_WORKERS, or this process' share of the cores where that is less: more only get in each other's way."""
    share = usable_cores() // processes_here(os.environ)
    return min(config.DATA.NUM_WORKERS, max(1, share))


def training_data(config: CfgNode, annotations: Annotations) -> TrainingData:
    """The training list as batches with the augmentation of the AUG keys."""
    if not config.DATA.SHUFFLE_BUFFER and (shards := count_shards(annotations)) > 1:
        log.info(
            "the training videos lie in %d archives and are read in any order; DATA.SHUFFLE_BUFFER 1000 reads these "
            "front to back",
            shards,
        )
    aug = config.AUG
    transform = DeviceTransform(
        train=True,
        color_jitter=aug.COLOR_JITTER,
        gray_scale=aug.GRAY_SCALE,
        flip=aug.FLIP,
        erasing=aug.ERASING,
    )
    return TrainingData(
        video_dataset(config, annotations, train=True),
        transform,
        batch_size=config.TRAIN.BATCH_SIZE,
        workers=reading_processes(config),
        seed=config.SEED,
        rank=rank(),
        world=world(),
        pin_memory=torch.cuda.is_available(),
        timeout=config.TRAIN.TIMEOUT,
        max_bad_fraction=config.DATA.MAX_BAD_FRACTION,
        shuffle_buffer=config.DATA.SHUFFLE_BUFFER,
        balanced_over=training_classes(config, annotations) if config.DATA.SAMPLER == "balanced" else None,
    )


def training_classes(config: CfgNode, annotations: Annotations) -> np.ndarray:
    """The class int64 [N] of each training video: its view, in stage quality its grade or that next to its score."""
    if config.STAGE == "quality" and config.DATA.QUALITY_TARGET == "score":
        return np.floor(annotations.scores * (config.DATA.NUM_QUALITIES - 1) + 0.5).astype(np.int64)
    return annotations.labels


def evaluation_batches(
    config: CfgNode,
    annotations: Annotations,
    opener: Opener | None = None,
    workers: int | None = None,
    places: Sequence[int] | None = None,
) -> DataLoader:
    """This process' share of a list, or of the `places` in it, as batches.

    They are read by `reading_processes` unless `workers` are given.
    """
    return evaluation_loader(
        video_dataset(config, annotations, train=False, opener=opener),
        batch_size=config.TRAIN.BATCH_SIZE,
        workers=reading_processes(config) if workers is None else workers,
        **_of_this_process(config),
        places=places,
    )


def group_reader(
    config: CfgNode, groups: Iterable[tuple[Group, Sequence[str]]], opener: Opener | None, workers: int
) -> GroupReader[Group]:
    """The videos of groups, by their paths, as `evaluation_batches` has those of a list."""
    return GroupReader(
        video_dataset(config, Annotations.of_paths([]), train=False, opener=opener),
        groups,
        batch_size=config.TRAIN.BATCH_SIZE,
        workers=workers,
        **_of_this_process(config),
    )


def _of_this_process(config: CfgNode) -> dict[str, Any]:
    """What loaders are told of the process that they are in."""
    return {
        "rank": rank(),
        "world": world(),
        "pin_memory": torch.cuda.is_available(),
        "timeout": config.TRAIN.TIMEOUT,
    }
