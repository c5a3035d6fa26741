"""What a model sees in videos, as numbers for other programs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from echoviewclip.datasets.cropping import clips_on
from echoviewclip.datasets.reading import read, videos_of
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.inference.precision import Precision
from echoviewclip.models.video_clip import VideoCLIP


class VideoFeatures(NamedTuple):
    """Of N videos, by the positive branch; nan for videos that cannot be read.

    Attributes:
        videos: float32 [N, D], L2-normalised, the mean of the video's clips and crops.
        frames: float32 [N, T, D], not normalised, of the frames of all its clips and crops.
        places: int64 [N, T], where in the video these frames were.
    """

    videos: np.ndarray
    frames: np.ndarray
    places: np.ndarray


@torch.no_grad()
def encode_videos(model: VideoCLIP, loader: DataLoader, precision: Precision) -> VideoFeatures:
    """The features of every video of the loader's data set, in the order of its list; in this process alone."""
    transform, found = DeviceTransform(train=False), []
    for batch in read(loader):
        clips = clips_on(precision.device, batch, videos_of(loader).size)
        count, views, length = clips.shape[:3]
        with precision.autocast():
            lit = None if batch.lit is None else batch.lit.flatten(0, 1).numpy().repeat(length, axis=0)
            frames = model.encode_frames(transform(clips.flatten(0, 1)).flatten(0, 1), (), lit).positive
            pooled, _ = model.positive.pooling(frames.unflatten(0, (count * views, length)))
        videos = F.normalize(pooled.float(), dim=-1).unflatten(0, (count, views)).mean(dim=1)
        parts = [videos, frames.float().unflatten(0, (count, views * length))]
        failed = batch.failed.to(precision.device)
        for part in parts:
            part[failed] = torch.nan
        found.append((*(part.cpu().numpy() for part in parts), batch.frames.flatten(1).numpy()))
    return VideoFeatures(*(np.concatenate(column) for column in zip(*found, strict=True)))
