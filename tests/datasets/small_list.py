"""Small videos in a list, one of which cannot be read, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import torch

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.dataset import VideoDataset
from echoviewclip.datasets.loader import TrainingData
from echoviewclip.datasets.sample import Sample
from echoviewclip.datasets.transforms import DeviceTransform

VIDEOS = 11
FRAMES = 12  # of a video
SIZE = 32
BAD = "clip 4.avi"


def dataset(folder: Path, name: str = "list.txt", **options) -> VideoDataset:
    return VideoDataset(read_annotations(folder / name), **({"frames": 4, "size": SIZE, "train": True} | options))


def training_data(videos: VideoDataset, **options) -> TrainingData:
    settings = {"batch_size": 3, "workers": 0, "seed": 0, "rank": 0, "world": 1}
    settings |= {"pin_memory": False, "max_bad_fraction": 0.5} | options
    return TrainingData(videos, DeviceTransform(train=True), **settings)


def joined(batches) -> Sample:
    """All samples of some batches, in order."""
    *columns, faults, warnings = zip(*batches, strict=True)
    tensors = (None if column[0] is None else torch.cat(column) for column in columns)
    return Sample(*tensors, *([remark for part in said for remark in part] for said in (faults, warnings)))


def assert_same(one: Sample, other: Sample) -> None:
    assert one[-2:] == other[-2:] and (one.box is None) == (other.box is None)
    for ours, theirs in zip(one[:-2], other[:-2], strict=True):
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
